// What metrics.jsonl says of a stage, as curves: the records of GET /runs/{id}/metrics in, series of curves.js out.
const ABOUT = new Set(["stage", "kind", "step", "epoch", "best", "time"]);
/** Measure of a validation -> the training losses that are in its unit, to be added up. */
const ALIKE = { mse: ["mse"], mse_s1: ["mse_s1"], nll: ["ce_s1", "ce_s2"], nll_s1: ["ce_s1"], nll_s2: ["ce_s2"] };

/** Records of one stage by kind; of a stage that was begun anew those since its later beginning. */
export function ofStage(records, stage) {
  const mine = records.filter((one) => one.stage === stage);
  const first = mine.findLastIndex((one) => one.kind === "validation" && one.step === 0);
  const since = mine.slice(Math.max(0, first));
  const of = (kind) => since.filter((one) => one.kind === kind);
  return { begin: mine.findLast((one) => one.kind === "begin") ?? null, train: of("train"), validation: of("validation") };
}

/** Names of the validation measures of a stage; the first chooses its checkpoint. */
export const measuresOf = ({ validation }) => Object.keys(validation[0] ?? {}).filter((name) => !ABOUT.has(name) && Number.isFinite(validation[0][name]));

/** One series of `Curves`: a measure of a stage (what `ofStage` gave), with the training loss where that has the same unit. */
export function curve(stage, name, measure = measuresOf(stage)[0]) {
  // A stage trained over the horizon alone (predictor.loss: horizon) has that first, and its training losses are of those bars.
  const horizon = measuresOf(stage).find((one) => one.startsWith("nll")) === "nll_horizon";
  const losses = (horizon ? { nll_horizon: ALIKE.nll } : ALIKE)[measure] ?? [];
  const validation = stage.validation.filter((one) => Number.isFinite(one[measure])).map((one) => [one.step, one[measure]]);
  const train = stage.train.filter((one) => losses.length && losses.every((key) => Number.isFinite(one[key]))).map((one) => [one.step, losses.reduce((sum, key) => sum + one[key], 0)]);
  const start = validation.length && validation[0][0] === 0 ? validation[0][1] : null;
  return { name, measure, train, validation, start, best: stage.validation.findLast((one) => one.best)?.step ?? null };
}
