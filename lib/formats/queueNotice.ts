/** What a run that waits for its turn says of its place; 0 when it has come. */
export function queueNotice(position: number): string {
  return position > 0 ? `Waiting: number ${position} in the queue` : 'Waited in the queue';
}
