// The tool calls of pi that have not ended, and whether their processes do something meanwhile.
import { usageBelow } from "./processes.mjs";

const MOST = 100;
const TICKS = 5; // 50 ms of CPU: less is what a process that waits uses up
const BYTES = 1 << 16;

export class RunningTools {
  #calls = new Map(); // id -> {name, since}
  #before = { cpu: 0, io: 0 };
  #worked = 0;

  began(id, name) {
    if (this.#calls.size < MOST) this.#calls.set(id, { name, since: performance.now() });
  }

  ended(id) {
    this.#calls.delete(id);
  }

  settled() {
    this.#calls.clear();
  }

  /** The one that has run for longest. */
  oldest() {
    const [oldest] = this.#calls.values();
    return oldest && { name: oldest.name, ageMs: Math.round(performance.now() - oldest.since) };
  }

  /** Counts looks at which the processes below pi had used CPU or I/O since the look before; only while a tool runs. */
  work(pid) {
    if (!this.#calls.size || !pid) return this.#worked;
    const now = usageBelow(pid);
    if (Math.abs(now.cpu - this.#before.cpu) < TICKS && Math.abs(now.io - this.#before.io) < BYTES) return this.#worked;
    this.#before = now;
    this.#worked += 1;
    return this.#worked;
  }
}
