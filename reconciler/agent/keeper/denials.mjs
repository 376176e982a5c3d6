// What the boundary around pi refused, as the controller is told it. Bounded: whoever is refused a thousand times fills neither the
// journal nor an answer.
import { brief } from "./told.mjs";

const KINDS = 50;
const TOLD = 10;
const LINES = 5; // of one result
const FILES = /EROFS|Read-only file system/i;
const NETWORK = /ENETUNREACH|EAI_AGAIN|Network is unreachable|Could not resolve host|Temporary failure in name resolution/i;

export class Denials {
  #events;
  #kinds = new Map(); // words -> {what, told, times, n}
  #number = 0;

  constructor(events) {
    this.#events = events;
  }

  /** `what`: network, files or call; `told`: which host, path or call; `by`: {rule, level} that refused a call. The same thing again is
   * counted, and written down whenever its number has doubled. */
  add(what, told, by = {}) {
    const words = `${what} ${brief(String(told), 300)}`;
    const known = this.#kinds.get(words) ?? { what, told: brief(String(told), 300), times: 0, ...by };
    this.#kinds.delete(words); // it is the newest now
    known.times += 1;
    const noted = (known.times & (known.times - 1)) === 0;
    if (noted) known.n = ++this.#number;
    this.#kinds.set(words, known);
    if (this.#kinds.size > KINDS) this.#kinds.delete(this.#kinds.keys().next().value);
    if (noted) this.#events.record("refused", known);
  }

  /** The kernel tells a program, not us, that it may not write: what a tool's result says of that is all that can be known. */
  heard(tool, result) {
    const texts = Array.isArray(result?.content) ? result.content.map((part) => part?.text).filter((text) => typeof text === "string") : [];
    let left = LINES;
    for (const line of texts.join("\n").slice(0, 50_000).split("\n")) {
      const what = FILES.test(line) ? "files" : NETWORK.test(line) ? "network" : undefined;
      if (what && left-- > 0) this.add(what, `${brief(tool, 100)}: ${line.trim()}`);
    }
  }

  /** The newest, oldest first; `n` rises with each that is worth telling. */
  describe() {
    return [...this.#kinds.values()].sort((a, b) => a.n - b.n).slice(-TOLD);
  }
}
