-- Health of an Experiment for Argo CD: argocd-cm, key resource.customizations.health.trimtab.dev_Experiment
--
-- A person must act: Degraded. Paused by somebody: Suspended. Not decided yet: Progressing. A search that runs for days
-- is Healthy, as nobody has to wait for it.
local health = { status = "Progressing", message = "waiting for the operator" }
if obj.status == nil then
  return health
end

local generation = obj.metadata.generation or 0
if (obj.status.observedGeneration or 0) < generation then
  health.message = "waiting for the operator to see this version"
  return health
end

local found = {}
for _, condition in ipairs(obj.status.conditions or {}) do
  found[condition.type] = condition
end

local function holds(kind)
  return found[kind] ~= nil and found[kind].status == "True"
end

local function say(status, kind)
  health.status = status
  local condition = found[kind]
  if condition ~= nil then
    health.message = condition.reason .. ": " .. (condition.message or "")
  end
  return health
end

if holds("Stalled") then
  return say("Degraded", "Stalled")
end
if holds("Paused") then
  return say("Suspended", "Paused")
end
if obj.status.phase == "Stopped" or obj.status.phase == "Failed" then
  health.status = "Degraded"
  health.message = obj.status.message or obj.status.phase
  return health
end
if holds("Ready") then
  health.status = "Healthy"
  health.message = obj.status.message or ""
  return health
end
return say("Progressing", "Reconciling")
