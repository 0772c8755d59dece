/**
 * Messages with each part of their content changed; one that is replaced keeps the others at their index, by which an
 * error names them. What is no message is left for whoever reads them.
 *
 * @param field where a message of the format has its parts
 */
export function mapContent(
  messages: unknown,
  field: 'content' | 'parts',
  change: (part: unknown) => unknown,
): unknown {
  if (!Array.isArray(messages)) return messages;
  return messages.map((message) => {
    const { [field]: parts } = (message ?? {}) as Record<string, unknown>;
    return Array.isArray(parts) ? { ...message, [field]: parts.map(change) } : message;
  });
}
