import type { ModelRequest } from './realCli';

interface Block {
  readonly type: string;
  readonly text?: string;
  readonly name?: string;
  readonly input?: unknown;
  readonly content?: unknown;
}

/**
 * What the model was told of a conversation, one block each: `user: …`, `assistant: …`, `tool_use: Read …`,
 * `tool_result: …`. What the CLI adds of its own is left out.
 */
export function toldTo(request: ModelRequest | undefined): string[] {
  return (request?.messages ?? []).flatMap(({ role, content }) => {
    if (role !== 'user' && role !== 'assistant') return [];
    return blocksOf(content).flatMap((block) => {
      switch (block.type) {
        case 'text': {
          const text = withoutReminders(block.text ?? '');
          return text === '' ? [] : [`${role}: ${text}`];
        }
        case 'tool_use':
          return [`tool_use: ${block.name} ${JSON.stringify(block.input)}`];
        case 'tool_result':
          return [`tool_result: ${textOf(block.content)}`];
        default:
          return [block.type];
      }
    });
  });
}

/** The requests of conversations, without those that the CLI makes for itself. */
export function questions(requests: readonly ModelRequest[]): ModelRequest[] {
  return requests.filter(({ tools = [] }) => tools.length > 0);
}

function blocksOf(content: unknown): Block[] {
  return typeof content === 'string' ? [{ type: 'text', text: content }] : (content as Block[]);
}

function textOf(content: unknown): string {
  return blocksOf(content)
    .map(({ text = '' }) => text)
    .join('\n');
}

function withoutReminders(text: string): string {
  return text.replace(/<system-reminder>[\s\S]*?<\/system-reminder>/g, '').trim();
}
