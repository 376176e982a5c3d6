-- Argo CD's health of our kinds, by the conventions that their status keeps (kstatus): nothing here but reads.
--   observedGeneration behind the declaration, or Reconciling: Progressing; Stalled: Degraded; Ready: Healthy, or Suspended as declared.
-- In Argo CD's ConfigMap argocd-cm, under resource.customizations.health.fleet.vers.sh_KIND for each kind: docs/kubernetes.md has the command.
local function text(condition)
  local told = condition.reason or ""
  if condition.message ~= nil and condition.message ~= "" then
    told = told .. ": " .. condition.message
  end
  return told
end

local hs = { status = "Progressing", message = "waiting for the operator to look at it" }
local status = obj.status
if status == nil or status.conditions == nil then
  return hs
end
if status.observedGeneration ~= nil and obj.metadata.generation ~= nil and status.observedGeneration < obj.metadata.generation then
  hs.message = "waiting for the operator to see the last change"
  return hs
end

local found = {}
for _, condition in ipairs(status.conditions) do
  if condition.status == "True" then
    found[condition.type] = condition
  elseif condition.type == "Ready" then
    hs.message = text(condition)
  end
end
if found.Stalled ~= nil then
  hs.status, hs.message = "Degraded", text(found.Stalled)
elseif found.Reconciling ~= nil then
  hs.message = text(found.Reconciling)
elseif found.Ready ~= nil then
  hs.status, hs.message = "Healthy", text(found.Ready)
  if status.phase == "Suspended" then
    hs.status = "Suspended"
  end
end
return hs
