// @ts-check
/**
 * A server that asks before a tool runs: the CLI waits while somebody reads what it wants to do, and says yes or no.
 *
 *     curl -sN 127.0.0.1:3000/chat -H 'content-type: application/json' -d '{"prompt":"bash: touch new.txt"}' &
 *     curl -s 127.0.0.1:3000/questions
 *     curl -s 127.0.0.1:3000/questions/1 -H 'content-type: application/json' -d '{"allow":true}'
 */
import { claudeStream } from 'claude-stream';
import express from 'express';
import { chosenAddress, listen } from './listen.js';
import { main } from './main.js';
import { chooseSetting } from './setting.js';

/**
 * A tool that waits for permission.
 * @typedef {object} Question
 * @property {number} id
 * @property {string} runId
 * @property {string} tool
 * @property {unknown} input
 * @property {(allow: boolean) => void} answer
 */

/** @param {import('./listen.js').Address} [address] */
export async function startPermissions(address) {
  const setting = await chooseSetting();
  /** @type {Map<number, Question>} */
  const questions = new Map();
  let lastId = 0;

  /** @type {import('claude-stream').CanUseTool} */
  const canUseTool = async ({ toolName, input }, { runId, signal }) => {
    lastId += 1;
    const id = lastId;
    /** @type {boolean} */
    const allow = await new Promise((resolve) => {
      questions.set(id, { id, runId, tool: toolName, input, answer: resolve });
      // Nobody wants to know any more: the run has ended, or the time is up.
      signal.addEventListener('abort', () => resolve(false), { once: true });
    });
    questions.delete(id);
    return allow ? { behavior: 'allow' } : { behavior: 'deny', message: 'The user said no.' };
  };

  const chat = claudeStream({ ...setting.options, allowedTools: ['Read'], canUseTool });
  const app = express();
  app.use(express.json());
  app.post('/chat', chat);
  // Whoever may answer these decides what runs on the server: in an application, its users, each for their own runs.
  app.get('/questions', (_req, res) => {
    res.json([...questions.values()].map(({ answer: _answer, ...shown }) => shown));
  });
  app.post('/questions/:id', (req, res) => {
    const question = questions.get(Number(req.params.id));
    if (question === undefined) {
      res.status(404).json({ error: 'There is no such question, or not any more.' });
      return;
    }
    question.answer(req.body?.allow === true);
    res.status(204).end();
  });
  return listen(
    app,
    async () => {
      await chat.close();
      await setting.close();
    },
    address,
  );
}

main(import.meta.url, async () => {
  const server = await startPermissions(chosenAddress());
  console.log(`POST ${server.url}/chat, and answer what ${server.url}/questions asks`);
  return server;
});
