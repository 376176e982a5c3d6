// What one part of a call does, as far as it can be known before it runs. The same as core/governance/permissions/acts.py.

/** A command that is not understood for certain; the message says why. */
export class CannotRead extends Error {}

export const full = (pattern, text, flags = "s") => new RegExp(`^(?:${pattern})$`, flags).test(text);

export const newAct = (kind, text, part, more = {}) => ({
  kind, text, part, why: "", cwd: "", strict: false, names: [], inline: 0, mutates: true, files: [], reach: [], ...more,
});
