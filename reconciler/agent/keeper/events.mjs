// What happened, numbered, on disk and to whoever listens. Bounded: old segments go, and nothing is lost by that, because
// finished messages are in pi's session file and a record only refers to them. When the disk refuses a record, the record
// waits, `blocked` says so, and pi is not read until it is written.
import fs from "node:fs";
import path from "node:path";
import { AppendLog, count } from "./disk.mjs";

const SEGMENT = /^events-(\d{12})\.jsonl$/;

export class Events {
  #directory;
  #limits;
  #log;
  #waiting = [];
  #listeners = new Map();
  #timer;

  /** `limits`: {segmentBytes, segments}. */
  constructor(directory, limits, onGate) {
    this.#directory = directory;
    this.#limits = limits;
    this.onGate = onGate;
    this.blocked = false;
    this.seq = 0;
    const names = this.#segments();
    if (names.length === 0) {
      this.#log = this.#open(1);
      return;
    }
    this.seq = Number(SEGMENT.exec(names.at(-1))[1]) - 1;
    this.#log = new AppendLog(path.join(directory, names.at(-1)));
    this.seq = this.#log.found.at(-1)?.seq ?? this.seq;
    this.#log.found = [];
  }

  #segments() {
    return fs.readdirSync(this.#directory).filter((name) => SEGMENT.test(name)).sort();
  }

  #open(first) {
    return new AppendLog(path.join(this.#directory, `events-${String(first).padStart(12, "0")}.jsonl`));
  }

  record(event, fields = {}) {
    this.#waiting.push({ at: Date.now(), event, ...fields });
    this.#drain();
  }

  #drain() {
    try {
      while (this.#waiting.length) {
        const record = { seq: this.seq + 1, ...this.#waiting[0] };
        if (this.#log.size > this.#limits.segmentBytes) this.#rotate();
        this.#log.append(record, false);
        this.seq = record.seq;
        this.#waiting.shift();
        const line = JSON.stringify({ event: record });
        for (const listener of this.#listeners.keys()) listener.write(line);
      }
    } catch {
      count("eventNotWritten");
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        this.#drain();
      }, 1000);
    }
    if (this.blocked !== this.#waiting.length > 0) {
      this.blocked = this.#waiting.length > 0;
      this.onGate();
    }
  }

  #rotate() {
    const next = this.#open(this.seq + 1);
    this.#log.close();
    this.#log = next;
    for (const name of this.#segments().slice(0, -this.#limits.segments)) fs.unlinkSync(path.join(this.#directory, name));
  }

  /** Only for those who asked for it, never on disk. */
  live(fields) {
    for (const [listener, wants] of this.#listeners) if (wants.deltas) listener.write(JSON.stringify({ live: fields }));
  }

  /** Everything after `after`, then what comes. `{gap: {from, to}}` names records that are gone. */
  subscribe(listener, after, deltas) {
    const names = this.#segments();
    const oldest = Number(SEGMENT.exec(names[0])[1]);
    if (after + 1 < oldest) listener.write(JSON.stringify({ gap: { from: after + 1, to: oldest - 1 } }));
    for (let i = 0; i < names.length && after < this.seq; i++) {
      const last = i + 1 < names.length ? Number(SEGMENT.exec(names[i + 1])[1]) - 1 : this.seq;
      if (last <= after) continue;
      for (const line of fs.readFileSync(path.join(this.#directory, names[i]), "utf8").split("\n")) {
        const seq = line ? Number(/^\{"seq":(\d+),/.exec(line)?.[1] ?? 0) : 0;
        if (seq > after && seq <= this.seq) listener.write(`{"event":${line}}`);
      }
    }
    this.#listeners.set(listener, { deltas });
  }

  unsubscribe(listener) {
    this.#listeners.delete(listener);
  }
}
