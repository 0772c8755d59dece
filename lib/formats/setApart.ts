import type { ContentBlock } from '../claude/messages.js';

/** Sets apart what were blocks of their own, and will be one text: with a blank line between them. */
export function setApart(blocks: readonly ContentBlock[]): ContentBlock[] {
  let isFirst = true;
  return blocks.map((block) => {
    if (block.type !== 'text' || !block.text?.trim()) return block;
    if (!isFirst) return { ...block, text: `\n\n${block.text}` };
    isFirst = false;
    return block;
  });
}
