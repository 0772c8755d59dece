// @ts-check
/** Who is compared: ways to serve the CLI's output over HTTP. */

/**
 * @typedef {object} Contender
 * @property {string} name
 * @property {string} module its file in contenders/
 * @property {object} options what that file takes
 * @property {object} body of the request that starts a run
 * @property {boolean} [isPeer] somebody else's package, without which there is still something to compare
 */

const prompt = { prompt: 'hi' };
const completion = {
  stream: true,
  model: 'claude-sonnet-4',
  messages: [{ role: 'user', content: 'hi' }],
};

/**
 * @param {string} name @param {string} module @param {object} [options] @param {object} [body]
 * @returns {Contender}
 */
const contender = (name, module, options = {}, body = completion) => ({
  name,
  module,
  options,
  body,
});

/** `stdout.pipe(res)`: the least that it can cost. */
export const pipe = contender('bare pipe', 'pipe');
/** Streams put together as their documentation shows it. */
export const naive = contender('naive pipeline', 'naive');
/** What a competent person writes by hand for OpenAI's clients. */
export const loop = contender('hand-written loop', 'loop');
export const oursOpenai = contender('claude-stream openai', 'claudeStream', { format: 'openai' });
export const oursClaude = contender('claude-stream claude', 'claudeStream', {}, prompt);
export const oursCoalesced = contender('claude-stream openai, coalesce 50', 'claudeStream', {
  format: 'openai',
  coalesce: 50,
});
export const oursWarm = contender('claude-stream openai, warm 2', 'claudeStream', {
  format: 'openai',
  warm: 2,
});
export const oursInMemory = contender('claude-stream openai, memoryStore', 'claudeStream', {
  format: 'openai',
  keepsRuns: 'memory',
  onDisconnect: 'stop',
});
export const oursInRedis = contender('claude-stream openai, redisStore', 'claudeStream', {
  format: 'openai',
  keepsRuns: 'redis',
  onDisconnect: 'stop',
});
/** Installed by peers.js, as the next is. */
export const agentSdk = {
  ...contender('claude-agent-sdk in Express', 'agentSdk'),
  isPeer: true,
};
export const maxApiProxy = {
  ...contender('claude-max-api-proxy', 'maxApiProxy'),
  isPeer: true,
};
