import type { RunStore, Store } from '../../lib/stores/store';

/** A store that keeps runs. */
export interface FullStore extends Store {
  readonly runs: RunStore;
}

export function full({ sessions, runs }: Store): FullStore {
  if (runs === undefined) throw new Error('The store keeps no runs.');
  return { sessions, runs };
}
