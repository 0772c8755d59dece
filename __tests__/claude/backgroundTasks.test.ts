import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BackgroundTasks } from '../../lib/claude/backgroundTasks';
import type { ClaudeMessage } from '../../lib/claude/messages';

const system = (subtype: string, fields: object): ClaudeMessage => ({
  type: 'system',
  subtype,
  ...fields,
});
const started = (id: string, type: string) =>
  system('task_started', { task_id: id, task_type: type });
const ended = (id: string) => system('task_notification', { task_id: id });
const changed = (...tasks: unknown[]) => system('background_tasks_changed', { tasks });

/** What is outstanding after some messages: who will report, and which commands run. */
function outstandingAfter(...messages: ClaudeMessage[]) {
  const tasks = new BackgroundTasks();
  for (const message of messages) tasks.observe(message);
  return [tasks.reporting, tasks.commands];
}

describe('background tasks', () => {
  it('are counted from their start to their notification, as 2.1.197 tells them', () => {
    expect(outstandingAfter(started('a', 'local_agent'))).toEqual([1, 0]);
    expect(outstandingAfter(started('a', 'local_agent'), ended('a'))).toEqual([0, 0]);
    expect(outstandingAfter(started('a', 'local_agent'), started('b', 'local_bash'))).toEqual([
      1, 1,
    ]);
  });

  it('are what the list says where there is one, as 2.1.330 tells them', () => {
    expect(outstandingAfter(started('a', 'local_agent'), changed())).toEqual([0, 0]);
    expect(outstandingAfter(changed({ task_id: 'a', task_type: 'local_agent' }))).toEqual([1, 0]);
    const both = [
      { task_id: 'a', task_type: 'local_agent' },
      { task_id: 'b', task_type: 'local_bash' },
    ];
    expect(outstandingAfter(changed(...both))).toEqual([1, 1]);
    expect(outstandingAfter(changed(...both), changed(both[1]))).toEqual([0, 1]);
  });

  it('of a kind that nobody has seen yet will report, rather than be cut off', () => {
    expect(outstandingAfter(started('a', 'remote_agent'))).toEqual([1, 0]);
    expect(outstandingAfter(changed({ task_id: 'a' }, null))).toEqual([2, 0]);
  });

  it('say whether a message concerned them', () => {
    const tasks = new BackgroundTasks();
    expect(tasks.observe(started('a', 'local_agent'))).toBe(true);
    expect(tasks.observe(ended('b'))).toBe(false);
    expect(tasks.observe(system('background_tasks_changed', { tasks: 7 }))).toBe(false);
    expect(tasks.observe({ type: 'result' })).toBe(false);
    expect(tasks.observe(ended('a'))).toBe(true);
  });

  it('are outstanding at the first result of the recorded subagent, and none at the last', () => {
    const path = join(__dirname, '..', 'fixtures', 'transcripts', 'subagent.jsonl');
    const messages: ClaudeMessage[] = readFileSync(path, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const first = messages.findIndex(({ type }) => type === 'result');
    expect(outstandingAfter(...messages.slice(0, first))).toEqual([1, 0]);
    expect(outstandingAfter(...messages)).toEqual([0, 0]);
  });
});
