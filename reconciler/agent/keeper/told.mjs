// What pi says, in short: what of it becomes a record, and how its state is told.

/** Resolves with `late` when the promise takes longer. */
export const within = (promise, ms, late) => {
  let timer;
  const timeout = new Promise((resolve) => (timer = setTimeout(resolve, ms, late)));
  return Promise.race([promise, timeout]).finally(() => clearTimeout(timer));
};
export const brief = (text, limit = 500) => (typeof text === "string" ? text.slice(0, limit) : undefined);

/** [event, fields] of what pi says, where it is only written down. */
export function recordOf(said) {
  switch (said.type) {
    case "tool_execution_start":
      return ["tool", { tool: brief(said.toolName), call: brief(said.toolCallId) }];
    case "tool_execution_end":
      return ["toolEnd", { tool: brief(said.toolName), call: brief(said.toolCallId), isError: said.isError === true }];
    case "queue_update":
      return ["queue", { steering: said.steering?.length ?? 0, followUp: said.followUp?.length ?? 0 }];
    case "compaction_start":
    case "compaction_end":
      return [said.type === "compaction_start" ? "compaction" : "compactionEnd", { reason: brief(said.reason), error: brief(said.errorMessage) }];
    case "extension_error":
      return ["extensionError", { extension: brief(said.extensionPath), error: brief(said.error) }];
    default:
      return undefined;
  }
}

/** Facts of a pi that runs: how it was started, and what it answered last. */
export function upOf(fact, { model, thinkingLevel, sessionId, pendingMessageCount, autoCompactionEnabled }) {
  return {
    state: "up",
    pid: fact.pid,
    startedAt: fact.at,
    launchHash: fact.launchHash,
    sessionFile: fact.sessionFile,
    pending: pendingMessageCount ?? 0,
    model: model ? `${model.provider}/${model.id}` : undefined,
    thinking: thinkingLevel,
    sessionId,
    autoCompaction: autoCompactionEnabled,
  };
}
