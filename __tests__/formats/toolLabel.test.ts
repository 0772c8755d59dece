import { toolLabel } from '../../lib/formats/toolLabel.js';
import { toolUse } from './support.js';

const label = (name: string, input: object) => toolLabel(toolUse('toolu_1', name, input));
const bash = (command: string) => label('Bash', { command }).detail;

it.each([
  ['Read', { file_path: '/home/user/project/notes.md' }, 'notes.md'],
  ['NotebookEdit', { notebook_path: '/srv/plot.ipynb', new_source: 'x' }, 'plot.ipynb'],
  ['Bash', { command: 'npm test', description: 'Run the tests' }, 'npm test'],
  ['Grep', { pattern: 'needle', path: '/srv' }, 'needle'],
  ['WebSearch', { query: 'event streams' }, 'event streams'],
  ['WebFetch', { url: 'https://example.com', prompt: 'Sum up' }, 'https://example.com'],
  ['Agent', { prompt: 'Read all', description: 'Look at notes' }, 'Look at notes'],
  ['TaskCreate', { subject: 'First step' }, 'First step'],
  ['Skill', { skill: 'pdf' }, 'pdf'],
])('says what %s is applied to', (name, input, detail) => {
  expect(label(name, input)).toEqual({ name, detail });
});

it('shows only the last part of a path: the rest is the server’s business', () => {
  expect(label('Read', { file_path: '/root/.ssh/config' }).detail).toBe('config');
});

it.each([
  ['a/b/', 'b'],
  ['/', ''],
  ['', ''],
  ['plain', 'plain'],
  [`${'x'.repeat(200_000)}/b`, 'b'],
  [`${'/'.repeat(200_000)}b`, 'b'],
])('takes no longer for a path that is long', (path, detail) => {
  expect(label('Read', { file_path: path }).detail).toBe(detail);
});

it.each([
  ['no known field', { todos: [] }],
  ['only blank fields', { command: ' \n' }],
  ['fields of other types', { command: 5, pattern: null, file_path: ['a'] }],
])('has no detail for an input with %s', (_, input) => {
  expect(label('Mystery', input)).toEqual({ name: 'Mystery', detail: '' });
});

it.each([undefined, null, 'text', 5])('takes %p for an input without fields', (input) => {
  expect(toolLabel({ type: 'tool_use', name: 'Mystery', input })).toEqual({
    name: 'Mystery',
    detail: '',
  });
});

it('has a name for a nameless tool', () => {
  expect(toolLabel({ type: 'tool_use' })).toEqual({ name: 'Tool', detail: '' });
});

it('keeps a detail on one line and says that there is more', () => {
  expect(bash('cd /srv\nrm -r build')).toBe('cd /srv …');
  expect(bash('cd /srv\r\nrm -r build')).toBe('cd /srv …');
  expect(bash('\n  ls  \n')).toBe('ls');
});

it('shortens a detail to 80 characters', () => {
  expect(bash('x'.repeat(80))).toBe('x'.repeat(80));
  expect(bash('x'.repeat(81))).toBe(`${'x'.repeat(80)}…`);
  expect(label('Write', { file_path: `/srv/${'x'.repeat(200)}` }).detail).toHaveLength(81);
});

it('does not cut a surrogate pair', () => {
  expect(bash('🌍'.repeat(500))).toBe(`${'🌍'.repeat(80)}…`);
});

it('shortens 10 MB without going through all of it', () => {
  const start = performance.now();
  bash('x'.repeat(10_000_000));
  expect(performance.now() - start).toBeLessThan(500);
});
