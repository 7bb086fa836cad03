// Records of a run as a chart and a table have them.
const KEYS = new Set(["stage", "kind", "step", "epoch", "best", "time", "steps", "epochs", "windows"]);
const POINTS = 2000;
/** Training losses in the unit of a validation measure, as the run's report puts them beside each other. */
const ALIKE = { mse: ["mse"], nll: ["ce_s1", "ce_s2"] };

/** Stages in order, each with its training and validation records; a step that was taken again is there once. */
export function stagesOf(records) {
  const stages = new Map();
  for (const record of records) {
    if (!stages.has(record.stage)) stages.set(record.stage, { name: record.stage, train: new Map(), validation: new Map(), begin: null });
    const stage = stages.get(record.stage);
    if (record.kind === "begin") stage.begin = record;
    else if (record.kind === "train" || record.kind === "validation") stage[record.kind].set(record.step, record);
  }
  const ordered = (map) => [...map.values()].sort((a, b) => a.step - b.step);
  return [...stages.values()].map((stage) => ({ ...stage, train: ordered(stage.train), validation: ordered(stage.validation) }));
}

export const measuresOf = (stage) => [...new Set(stage.validation.flatMap(Object.keys))].filter((name) => !KEYS.has(name) && stage.validation.some((one) => Number.isFinite(one[name])));

/** The last validation that was the best so far. */
export const bestOf = (stage) => stage.validation.filter((one) => one.best).at(-1)?.step ?? null;

/** What Curves draws of a stage in one measure. */
export function seriesOf(stage, measure) {
  const alike = ALIKE[measure];
  const train = alike ? stage.train.filter((one) => alike.every((name) => Number.isFinite(one[name]))).map((one) => [one.step, alike.reduce((sum, name) => sum + one[name], 0)]) : [];
  const every = Math.ceil(train.length / POINTS);
  const validation = stage.validation.filter((one) => Number.isFinite(one[measure])).map((one) => [one.step, one[measure]]);
  return {
    name: stage.name, train: every > 1 ? train.filter((_, at) => at % every === 0 || at === train.length - 1) : train, validation,
    start: validation.find(([step]) => step === 0)?.[1] ?? null, best: bestOf(stage),
  };
}
