/** Whether a content type is that of an event stream. */
export function isEventStream(contentType: string | null | undefined): boolean {
  return /^text\/event-stream\s*(?:;|$)/i.test(contentType ?? '');
}
