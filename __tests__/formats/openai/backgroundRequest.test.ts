import { isBackgroundRequest } from '../../../lib/formats/openai/backgroundRequest.js';
import type { Conversation } from '../../../lib/formats/readMessages.js';
import { timeOf } from '../support.js';

const asking = (content: Conversation['content'], answer?: string): Conversation => ({
  earlier: [],
  answer,
  fresh: [],
  content,
});

const question = asking('What is a title?');

/** The beginnings of Open WebUI's own prompts, with the ends that they have (0.10.2, `config.py`). */
const history = '\n\n### Chat History:\n<chat_history>\nUSER: Hi\n</chat_history>';
const tasks = [
  '### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.',
  '### Task:\nGenerate 1-3 broad tags categorizing the main themes of the chat history',
  '### Task:\nSuggest 3-5 relevant follow-up questions or prompts that the user might ask next',
  '### Task:\nAnalyze the chat history to determine the necessity of generating search queries',
  '### Task:\nGenerate a detailed prompt for am image generation task based on the given language',
  '### Task:\nGenerate a detailed prompt for an image generation task based on the given language',
  '### Task:\nYou are an autocompletion system. Continue the text in `<text>`',
  "Your task is to reflect the speaker's likely facial expression through a fitting emoji.",
  'You have been provided with a set of responses from various models to the latest user query',
];

const RAG_PROMPT =
  '### Task:\nRespond to the user query using the provided context, incorporating inline citations in the format [id].\n\n' +
  '<context>\n<source id="1">Notes</source>\n</context>\n\nWhat do the notes say?';

describe('the header x-openwebui-task', () => {
  it.each(['title_generation', 'tags_generation', 'x'])(
    'of %j tells a request of its own',
    (task) => {
      expect(isBackgroundRequest({ 'x-openwebui-task': task }, question)).toBe(true);
    },
  );

  it.each([
    ['no value', ''],
    ['a variable that this Open WebUI does not know', '{{TASK}}'],
  ])('with %s does not count', (_, task) => {
    expect(isBackgroundRequest({ 'x-openwebui-task': task }, question)).toBe(false);
  });

  it('that does not count leaves it to the prompt', () => {
    for (const task of ['', '{{TASK}}']) {
      expect(isBackgroundRequest({ 'x-openwebui-task': task }, asking(tasks[0] ?? ''))).toBe(true);
    }
  });

  it('counts for a bare prompt too', () => {
    expect(isBackgroundRequest({ 'x-openwebui-task': 'title_generation' }, undefined)).toBe(true);
  });

  it('is another than those that every request has', () => {
    expect(isBackgroundRequest({ 'x-openwebui-chat-id': 'abc', accept: '*/*' }, question)).toBe(
      false,
    );
  });
});

describe('the prompt', () => {
  it.each(tasks)('%s … tells a request of its own', (task) => {
    expect(isBackgroundRequest({}, asking(task))).toBe(true);
    expect(isBackgroundRequest({}, asking(`\n  ${task}${history}`))).toBe(true);
  });

  it('of an administrator, made like the others, does too', () => {
    expect(isBackgroundRequest({}, asking(`### Task:\nErfinde einen Titel.${history}\n`))).toBe(
      true,
    );
  });

  it('with which Open WebUI asks about documents is the user’s', () => {
    expect(isBackgroundRequest({}, asking(RAG_PROMPT))).toBe(false);
  });

  it.each([
    'Hello',
    '### Task:\nWrite a poem.',
    'Look: ### Task:\nGenerate a concise, 3-5 word title',
    'Generate a concise, 3-5 word title for my essay.',
    `What does this mean?${history}`,
    '',
  ])('%j is the user’s', (content) => {
    expect(isBackgroundRequest({}, asking(content))).toBe(false);
  });

  it('is the user’s when the conversation has an answer already', () => {
    expect(isBackgroundRequest({}, asking(tasks[0] ?? '', 'Hello!'))).toBe(false);
    expect(isBackgroundRequest({}, asking(tasks[0] ?? '', ''))).toBe(false);
  });

  it('is the user’s when it holds an image', () => {
    const content = [{ type: 'text', text: tasks[0] ?? '' }, { type: 'image' }];
    expect(isBackgroundRequest({}, asking(content))).toBe(false);
  });

  it('without messages is the user’s', () => {
    expect(isBackgroundRequest({}, undefined)).toBe(false);
  });

  it('of 10 MB is read in linear time', () => {
    const long = [
      ' '.repeat(10_000_000),
      `### Task:${'\n'.repeat(10_000_000)}`,
      `### Task:\n${'</chat_history> '.repeat(600_000)}x`,
      `### Task:\n</chat_history>${' '.repeat(10_000_000)}x`,
      '### Task:\n'.repeat(900_000),
    ];
    for (const content of long) {
      expect(timeOf(() => isBackgroundRequest({}, asking(content)))).toBeLessThan(1_000);
    }
  });
});
