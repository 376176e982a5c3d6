// What our extension in pi says of it: that it is there, what pi was told, and how long its provider asks to be left alone for.
import { Refusal, count } from "./disk.mjs";
import { brief, within } from "./told.mjs";

export const INSIDE_MS = 5_000;
const RETRIES_MS = 15_000; // pi tries three times, after 2, 4 and 8 s
const LONGEST_ASKED_S = 21_600;

export class Extension {
  #ask;
  #guard;
  #askedUntil = 0; // until when the model's provider asked to be left alone
  #there = false;

  /** Of one process: `ask(command)` sends one to pi; `guard`: what decides about its calls, if anything does. */
  constructor(ask, guard) {
    this.#ask = ask;
    this.#guard = guard;
    this.told = undefined;
    this.asked = undefined; // the question that is on its way
  }

  /** Asks it, and it reads the models file anew and says what pi was told. Never asked where it has not shown itself: its command would
   * be taken for a prompt. */
  async inside() {
    if (!this.#there) throw new Refusal("NotInside", "our extension is not loaded in pi");
    const asked = this.#ask({ type: "prompt", message: "/reconciler-inside" });
    this.asked = asked;
    const answer = await within(asked, INSIDE_MS);
    if (!answer) throw new Refusal("Deadline", "our extension in pi did not answer");
    if (!answer.success) throw new Refusal("NotInside", `our extension in pi refused: ${brief(answer.error)}`);
    return { inside: this.told };
  }

  /** What it says: nothing yet (it has just been loaded), or what pi was told. */
  status(said) {
    if (!said) return count("insideNotRead");
    this.#there = true;
    if (said.guard !== undefined || this.#guard?.there === false) this.#guard?.reported(said.guard);
    if (Number.isFinite(said.retryAfter)) {
      this.#askedUntil = performance.now() + 1000 * Math.min(Math.max(said.retryAfter, 0), LONGEST_ASKED_S);
      return;
    }
    if (typeof said.prompt === "string") this.told = { prompt: brief(said.prompt), context: said.context, compaction: said.compaction };
    else this.inside().catch(() => count("insideNotRead")); // then nobody knows what pi was told, and `observe` says so
  }

  get retryAfterMs() {
    return Math.max(0, Math.round(this.#askedUntil - performance.now())) || undefined;
  }

  /** pi asks again without regard to what the provider asks for. A provider that wants to be left alone for longer than all of pi's
   * tries last gets none of them: the turn ends with its error, and whoever sent the prompt waits. */
  leaveAlone() {
    if ((this.retryAfterMs ?? 0) > RETRIES_MS) this.#ask({ type: "abort_retry" }).then((answer) => answer?.success || count("retryNotAborted"));
  }
}
