import type { Request, Response } from 'express';

export interface Client {
  readonly gone: boolean;
  /** Whether it is to be said of it, when it goes, that it read nothing any more. */
  stalled: boolean;
  /** Told that it has left, and why; to be set once something depends on it. */
  onLeave: ((reason: 'stalled' | 'disconnected') => void) | undefined;
  watchPipeline(): void;
}

/**
 * Tells when the client has left. A run that is over is not affected; one that is not must not go on for a response
 * that other middleware has ended, either.
 */
export function watchClient(request: Request, response: Response): Client {
  const { socket } = request;
  // The response to a pipelined request has no socket until its turn comes, and Node tells it of no 'close' before.
  const abandon = () => {
    if (response.socket !== null) return;
    response.destroy();
    response.emit('close');
  };
  const client = {
    gone: response.destroyed || socket.destroyed,
    stalled: false,
    onLeave: undefined as Client['onLeave'],
    watchPipeline: () => {
      if (response.socket === null) socket.once('close', abandon);
    },
  };
  response.once('close', () => {
    client.gone = true;
    socket.off('close', abandon);
    client.onLeave?.(client.stalled ? 'stalled' : 'disconnected');
  });
  return client;
}
