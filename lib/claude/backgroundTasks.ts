import { type ClaudeMessage, isSystem } from './messages.js';

interface Task {
  readonly task_id?: unknown;
  readonly task_type?: unknown;
}

/**
 * What goes on beside the conversation: subagents, which report in a turn of their own when they are done, and shell
 * commands, which may never end (a development server).
 *
 * 2.1.330 lists them in `background_tasks_changed`; 2.1.197 only says that one has started or ended.
 */
export class BackgroundTasks {
  readonly #types = new Map<string, unknown>();

  /** Shell commands and monitors that have not ended. */
  get commands(): number {
    let count = 0;
    for (const type of this.#types.values()) if (mayNeverEnd(type)) count += 1;
    return count;
  }

  /** Everything else: it will be heard of again. */
  get reporting(): number {
    return this.#types.size - this.commands;
  }

  /** Whether the message changed anything. */
  observe(message: ClaudeMessage): boolean {
    if (!isSystem(message)) return false;
    switch (message.subtype) {
      case 'task_started':
        this.#types.set(String(message.task_id), message.task_type);
        return true;
      case 'task_notification':
        return this.#types.delete(String(message.task_id));
      case 'background_tasks_changed':
        if (!Array.isArray(message.tasks)) return false;
        this.#types.clear();
        for (const task of message.tasks as (Task | null)[]) {
          this.#types.set(String(task?.task_id), task?.task_type);
        }
        return true;
      default:
        return false;
    }
  }
}

function mayNeverEnd(type: unknown): boolean {
  return type === 'local_bash' || String(type).startsWith('monitor');
}
