// @ts-nocheck: its packages are installed for the tests only.
/** The chat of the AI SDK, which is what `useChat` wraps, with its own transport; the state of React is a plain object. */
import { AbstractChat, DefaultChatTransport } from 'ai';
import { described, serve } from './host.mjs';

class State {
  status = 'ready';
  error = undefined;
  messages;

  constructor(messages) {
    this.messages = messages;
  }

  pushMessage = (message) => {
    this.messages = [...this.messages, message];
  };

  popMessage = () => {
    this.messages = this.messages.slice(0, -1);
  };

  replaceMessage = (index, message) => {
    this.messages = this.messages.with(index, structuredClone(message));
  };

  snapshot = (value) => structuredClone(value);
}

class Chat extends AbstractChat {
  constructor({ messages = [], ...init }) {
    super({ ...init, state: new State(messages) });
  }
}

/** A chat, and what it has told its callbacks. */
function chatFor({ api, id, messages, body }) {
  const told = { datas: [], errors: [], finished: 0, calls: [] };
  const chat = new Chat({
    id,
    messages,
    transport: new DefaultChatTransport({ api, body }),
    onData: ({ type, data }) => told.datas.push({ type, data }),
    onError: (error) => told.errors.push(described(error)),
    onFinish: () => {
      told.finished += 1;
    },
    onToolCall: ({ toolCall }) => told.calls.push(toolCall),
  });
  return { chat, told };
}

const shown = ({ chat, told }) => ({
  status: chat.status,
  messages: chat.messages,
  error: chat.error && described(chat.error),
  ...told,
});

/** Settles once the last answer has said something. */
async function said(chat) {
  const hasWords = ({ type, text }) => type === 'text' && text !== '';
  while (!(chat.lastMessage?.role === 'assistant' && chat.lastMessage.parts.some(hasWords))) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

serve({
  /** Asks each of some questions, one after the other. */
  send: async (args) => {
    const asked = chatFor(args);
    for (const text of args.texts) await asked.chat.sendMessage({ text });
    return shown(asked);
  },

  /** Asks, and stops as soon as the answer has begun. */
  stop: async (args) => {
    const asked = chatFor(args);
    const sent = asked.chat.sendMessage({ text: args.text });
    await said(asked.chat);
    await asked.chat.stop();
    await sent;
    return shown(asked);
  },

  /** Asks and loses the page as soon as the answer has begun; another page resumes it. */
  comeBack: async (args) => {
    const asked = chatFor(args);
    const sent = asked.chat.sendMessage({ text: args.text });
    await said(asked.chat);
    const [question] = asked.chat.messages;
    await asked.chat.stop();
    await sent;
    const back = chatFor({ ...args, messages: [question] });
    await back.chat.resumeStream();
    return shown(back);
  },

  /** Opens a page of a chat, as `useChat({ resume: true })` does. */
  resume: async (args) => {
    const opened = chatFor(args);
    await opened.chat.resumeStream();
    return shown(opened);
  },
});
