/** Sets apart what were blocks of their own, and will be one text: with a blank line between them. */
export function setApart(blocks: readonly unknown[]): unknown[] {
  let isFirst = true;
  return blocks.map((block) => {
    const { type, text } = (block ?? {}) as Record<string, unknown>;
    if (type !== 'text' || typeof text !== 'string' || text.trim() === '') return block;
    if (!isFirst) return { type, text: `\n\n${text}` };
    isFirst = false;
    return block;
  });
}
