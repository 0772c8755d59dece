import type { ClaudeStreamOptions } from 'claude-stream';
import { ask, post, readStream, runIdOf } from './client';
import { type Answer, claudeAnswer, openaiAnswer } from './eventStream';
import { record } from './figures';
import { nothingLeft, processWith } from './processes';
import { type ModelRequest, startRealCli, versions } from './realCli';
import { serve } from './serve';

/** What OpenAI calls the same. */
const ourNames: Record<string, string> = {
  context_length_exceeded: 'prompt_too_long',
  content_filter: 'refused',
};

const formats = {
  claude: { read: claudeAnswer, body: (prompt: string) => ({ prompt }) },
  openai: {
    read: (stream: string): Answer => {
      const answer = openaiAnswer(stream);
      return { ...answer, ending: ourNames[answer.ending] ?? answer.ending };
    },
    body: (prompt: string) => ({ stream: true, messages: [{ role: 'user', content: prompt }] }),
  },
} as const;
const formatNames = Object.keys(formats) as (keyof typeof formats)[];

const greeting = 'Grüße aus dem Skript 👋 – schöne Umlaute und ein Emoji.';

/** A pixel. */
const png =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

const combinations = versions.flatMap((version) =>
  formatNames.map((format) => ({ version, format })),
);

describe.each(combinations)('$version, format $format', ({ version, format }) => {
  const { read, body } = formats[format];

  /** Asks once; when it returns, nothing of the run is alive. */
  async function run(prompt: string, more: ClaudeStreamOptions = {}, fields: object = {}) {
    const { options, requests } = await startRealCli(version);
    const server = await serve({ ...options, format, ...more });
    const started = performance.now();
    const { runId, text: stream } = await ask(server.url, { ...body(prompt), ...fields });
    record('ms', performance.now() - started);
    const outcome = await server.outcomeOf(runId);
    await nothingLeft(runId, 1_000);
    return { answer: read(stream), outcome, requests, server, stream };
  }

  const success = (text: string): Answer => ({
    text,
    thinking: '',
    ending: 'success',
    finish: 'stop',
    message: undefined,
  });

  const failure = (text: string, ending: string, message: RegExp): Answer => ({
    text,
    thinking: '',
    ending,
    finish: undefined,
    message: expect.stringMatching(message),
  });

  test('a text', async () => {
    const { answer, outcome } = await run('hello');
    expect(answer).toEqual(success(greeting));
    expect(outcome).toMatchObject({ status: 'success', exitCode: 0, signal: null, turns: 1 });
  });

  test('a thought and a text', async () => {
    const { answer, outcome } = await run('think');
    expect(answer).toEqual({
      ...success('I have thought about it: the answer is 42.'),
      thinking: 'The user wants me to think. I have thought.',
    });
    expect(outcome).toMatchObject({ status: 'success', exitCode: 0 });
  });

  test('a file is read', async () => {
    const { answer, outcome } = await run('tool');
    expect(answer).toMatchObject({ ending: 'success', finish: 'stop' });
    expect(answer.text).toMatch(
      /^Let me read the notes\.\n\nThe file notes\.md says: [\s\d→]*Buy milk\.[\s\d]*$/,
    );
    expect(outcome).toMatchObject({ status: 'success', exitCode: 0 });
  });

  test('a command is run', async () => {
    const { answer, outcome } = await run('bash');
    expect(answer).toEqual(success('I will run a command.\n\nThe command printed: one\ntwo'));
    expect(outcome).toMatchObject({ status: 'success', exitCode: 0 });
  });

  test('an agent that reports after the first result', async () => {
    // The agent takes longer than the CLI may linger: it is waited for because it will report.
    const { answer, outcome } = await run('agent', { exitGrace: 500 });
    expect(answer).toEqual(
      success(
        'I will ask an agent.\n\nThe agent is working in the background.\n\n' +
          'The agent has reported: there are two notes.',
      ),
    );
    expect(outcome).toMatchObject({ status: 'success', exitCode: 0 });
  });

  test('an agent that is done while the turn is still being written', async () => {
    const { answer, outcome } = await run('agent slow 2');
    expect(answer).toEqual(
      success(
        'I will ask an agent.\n\nThis answer took 2 seconds.\n\n' +
          'The agent has reported: there are two notes.',
      ),
    );
    expect(outcome).toMatchObject({ status: 'success', exitCode: 0 });
  });

  test('a permanent error of the API', async () => {
    const { answer, outcome } = await run('fail');
    expect(answer).toEqual(failure('', 'prompt_too_long', /^Prompt is too long/));
    expect(outcome).toMatchObject({ status: 'error', exitCode: 1 });
  });

  test('a model that is overloaded twice', async () => {
    const { answer, outcome } = await run('overloaded');
    expect(answer).toEqual(success('The model was overloaded twice and then had time.'));
    expect(outcome).toMatchObject({ status: 'success', exitCode: 0 });
  });

  test('a refusal', async () => {
    const { answer, outcome } = await run('refuse');
    expect(answer).toEqual(failure('', 'refused', /^API Error: .*(safeguards|Usage Policy)/));
    expect(outcome).toMatchObject({ status: 'error', exitCode: 1 });
  });

  test('an answer cut at the output limit, which the CLI lets the model continue three times', async () => {
    const { answer, outcome } = await run('maxtokens');
    // The openai format puts the pieces together; the model stops in mid-word.
    const text = Array(4)
      .fill('This answer is cut')
      .join(format === 'openai' ? '' : '\n\n');
    expect(answer).toEqual(failure(text, 'max_output_tokens', /exceeded the \d+ output token/));
    expect(outcome).toMatchObject({ status: 'error', exitCode: 1 });
  });

  test('an API that dies in mid-sentence and then refuses', async () => {
    const { answer, outcome } = await run('midfail');
    const text = 'This sentence will never be ';
    expect(answer).toEqual(failure(text, 'prompt_too_long', /^Prompt is too long/));
    expect(outcome).toMatchObject({ status: 'error', exitCode: 1 });
  });

  test('an API that dies in mid-sentence and then answers', async () => {
    const { answer, outcome } = await run('midfail once');
    expect(answer).toEqual(success('This sentence will never be \n\nThis sentence is complete.'));
    expect(outcome).toMatchObject({ status: 'success', exitCode: 0 });
  });

  test('a text that begins with a slash reaches the model', async () => {
    const { answer, requests } = await run('/cost');
    expect(answer).toEqual(success(greeting));
    expect(wordsOf(requests.at(-1))).toContain('/cost');
  });

  test('a slash command is run by the CLI when the application allows it', async () => {
    const { answer, requests } = await run('/cost', { slashCommands: true });
    expect(answer).toEqual(success(expect.stringMatching(/^[\w ]+ cost: +\$0\.0000\n/)));
    expect(answer.text.match(/ cost:/g)).toHaveLength(1);
    expect(requests).toEqual([]);
  });

  test('a second request goes on with the session of the first', async () => {
    const { outcome, server, requests } = await run('hello');
    const { runId, text: stream } = await ask(server.url, {
      ...body('think'),
      session: outcome.sessionId,
    });
    expect(read(stream).text).toBe('I have thought about it: the answer is 42.');
    const words = wordsOf(requests.at(-1));
    expect(words).toMatch(/hello.*Grüße aus dem Skript.*think/s);
    expect(await server.outcomeOf(runId)).toMatchObject({ sessionId: outcome.sessionId });
    await nothingLeft(runId, 1_000);
  });

  test('a command left in the background is ended, and the answer counts', async () => {
    const { options } = await startRealCli(version);
    const server = await serve({ ...options, format, timeout: { background: 1_000 } });
    const marker = `1.${Math.floor(Math.random() * 1e9)}`;
    const prompt = `background: while true; do command sleep ${marker}; done`;
    const response = await post(server.url, body(prompt));
    const runId = runIdOf(response);
    const answer = readStream(response).then(read);
    await processWith(runId, marker);
    expect(await answer).toEqual(
      success('I will start a command.\n\nThe command runs in the background.'),
    );
    expect(await server.outcomeOf(runId)).toMatchObject({ status: 'success' });
    // The answer does not wait for it: 2.1.330 takes 0.15 s or 1.5 s to follow a SIGTERM.
    record('ms until nothing was left', await nothingLeft(runId, 3_000, marker));
  });

  if (format === 'openai') {
    test('an image reaches the model', async () => {
      const { answer, requests } = await run(
        '',
        {},
        {
          messages: [
            {
              role: 'user',
              content: [
                { type: 'text', text: 'hello' },
                { type: 'image_url', image_url: { url: `data:image/png;base64,${png}` } },
              ],
            },
          ],
        },
      );
      expect(answer).toEqual(success(greeting));
      const blocks = requests.at(-1)?.messages.flatMap(({ content }) => content);
      expect(blocks).toContainEqual(
        expect.objectContaining({
          type: 'image',
          source: expect.objectContaining({ media_type: 'image/png' }),
        }),
      );
    });
  }
});

/** Everything that the model was told. */
function wordsOf(request: ModelRequest | undefined): string {
  return JSON.stringify(request?.messages);
}
