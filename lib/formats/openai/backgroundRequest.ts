import type { Headers } from '../format.js';
import type { Conversation } from '../readMessages.js';

/** Lets an administrator tell the two apart for sure: a connection header whose value is `{{TASK}}`. */
const TASK_HEADER = 'x-openwebui-task';

/**
 * How the prompts begin that Open WebUI sends for itself (0.6 to 0.10.2, `config.py`). `### Task:` alone does not tell:
 * what a user asks about documents begins with it too, and goes on "Respond to the user query".
 */
const TASK_PROMPT = new RegExp(
  '^\\s*(?:' +
    '### Task:\\s+(?:' +
    [
      'Generate a concise, 3-5 word title',
      'Generate 1-3 broad tags',
      'Suggest 3-5 relevant follow-up',
      'Analyze the chat history to determine the necessity',
      'Generate a detailed prompt for a[mn] image generation task',
      'You are an autocompletion system',
      'Summarize the conversation history that will be compacted',
    ].join('|') +
    ")|Your task is to reflect the speaker's likely facial expression" +
    '|You have been provided with a set of responses from various models)',
);

/** A prompt of an administrator's own, made like the ones that come with Open WebUI. */
const OWN_TASK_PROMPT = /^\s*### Task:[\s\S]*<\/chat_history>\s*$/;

/** Whether a request is asked by Open WebUI for itself: a title, tags, follow-up questions, a search query. */
export function isBackgroundRequest(
  headers: Headers,
  conversation: Conversation | undefined,
): boolean {
  const task = headers[TASK_HEADER];
  // A variable that Open WebUI does not know, or has no value for, comes as it is or empty.
  if (typeof task === 'string' && task !== '' && !task.includes('{{')) return true;
  if (conversation === undefined || conversation.answer !== undefined) return false;
  const { content } = conversation;
  return (
    typeof content === 'string' && (TASK_PROMPT.test(content) || OWN_TASK_PROMPT.test(content))
  );
}
