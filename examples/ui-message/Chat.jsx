/** A chat with Claude Code, on `useChat` of the AI SDK (v5, v6 and v7). */
import { useChat } from '@ai-sdk/react';
import { useEffect, useState } from 'react';

/** @param {{ id: string }} props the chat's id, the same after a reload */
export function Chat({ id }) {
  const [text, setText] = useState('');
  const [activity, setActivity] = useState('');
  const [isStopping, setIsStopping] = useState(false);
  const { messages, sendMessage, status, stop, error } = useChat({
    id,
    // The default transport posts to /api/chat and resumes at /api/chat/:id/stream.
    resume: true,
    onData: ({ type, data }) => {
      if (type === 'data-status') setActivity(data.done ? '' : data.description);
    },
  });
  const isRunning = status === 'submitted' || status === 'streaming';
  const last = messages.at(-1);
  // Known as soon as the run has begun, and not before.
  const runId = isRunning && last?.role === 'assistant' ? last.metadata?.runId : undefined;

  useEffect(() => {
    if (!isStopping || runId === undefined) return;
    setIsStopping(false);
    // stop() alone only leaves: the run would go on for whoever comes back.
    fetch(`/api/chat/${runId}`, { method: 'DELETE' })
      .then(({ ok, statusText }) => setActivity(ok ? '' : `It may go on: ${statusText}`))
      .catch((cause) => setActivity(`It may go on: ${cause.message}`))
      .finally(stop);
  }, [isStopping, runId, stop]);

  return (
    <main>
      {messages.map(({ id: key, role, parts }) => (
        <article key={key} data-role={role}>
          {parts.map((part, index) => (
            <Part key={`${key} ${index}`} part={part} />
          ))}
        </article>
      ))}
      <p role="status">{error ? error.message : activity}</p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          setIsStopping(false);
          sendMessage({ text });
          setText('');
        }}
      >
        <label>
          Your message
          <input value={text} onChange={({ target }) => setText(target.value)} required />
        </label>
        {isRunning ? (
          <button type="button" onClick={() => setIsStopping(true)} disabled={isStopping}>
            Stop
          </button>
        ) : (
          <button type="submit">Send</button>
        )}
      </form>
    </main>
  );
}

function Part({ part }) {
  switch (part.type) {
    case 'text':
      return <p style={{ whiteSpace: 'pre-wrap' }}>{part.text}</p>;
    case 'reasoning':
      return (
        <details>
          <summary>Thinking</summary>
          {part.text}
        </details>
      );
    case 'dynamic-tool':
      return (
        <details>
          <summary>
            {part.toolName}: {part.state}
          </summary>
          <pre>{JSON.stringify(part.input, null, 2)}</pre>
          <pre>{part.errorText ?? part.output}</pre>
        </details>
      );
    default:
      return null;
  }
}
