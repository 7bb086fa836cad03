// The settings of a run as fields of a form, read from their JSON schema: what can be set, to what, and what it means.

/** A part of the schema with what it refers to. */
function resolve(schema, node) {
  if (!node.$ref) return node;
  const { $ref, ...own } = node;
  return { ...schema.$defs[$ref.split("/").at(-1)], ...own };
}

const choices = (schema, node) => (node.anyOf ?? [node]).map((one) => resolve(schema, one));

/** Every key that can be set, in the order of the schema; {key, name, group, help, kinds, options, fallback, unset}. */
export function fieldsOf(schema) {
  const found = [];
  const walk = (node, prefix, unset) => {
    for (const [name, raw] of Object.entries(node.properties ?? {})) {
      const one = resolve(schema, raw);
      const parts = choices(schema, one);
      const group = parts.find((part) => part.properties);
      if (group) {
        // A group that is off (null) until one of its keys is set.
        walk(group, `${prefix}${name}.`, unset ?? (parts.length > 1 ? `${prefix}${name}` : null));
        continue;
      }
      found.push({
        key: prefix + name, name, group: prefix.slice(0, -1), unset, fallback: one.default ?? null,
        help: (one.description ?? "").replace(/\s+/g, " "),
        kinds: new Set(parts.map((part) => part.type ?? (part.enum ? "string" : "object"))),
        options: parts.flatMap((part) => part.enum ?? (part.const === undefined ? [] : [part.const])),
        numbers: parts.some((part) => part.type === "array" && !["string", "object"].includes((part.items ?? part.prefixItems?.[0])?.type ?? "string")),
      });
    }
  };
  walk(schema, "", null);
  return found;
}

/** The value at a dotted key; undefined where there is none. */
export function at(values, key) {
  let node = values;
  for (const part of key.split(".")) {
    if (node === null || typeof node !== "object") return undefined;
    node = node[part];
  }
  return node;
}

/** What the recipe has for a field; the schema's where its group is off. */
export const given = (values, field) => {
  const value = at(values, field.key);
  return value === undefined ? field.fallback : value;
};

export const same = (one, other) => JSON.stringify(one ?? null) === JSON.stringify(other ?? null);

/** Nested values with changes by their dotted keys. */
export function merged(values, changes) {
  const made = structuredClone(values);
  for (const [key, value] of Object.entries(changes)) {
    const path = key.split(".");
    let node = made;
    for (const part of path.slice(0, -1)) node = node[part] = node[part] !== null && typeof node[part] === "object" ? node[part] : {};
    node[path.at(-1)] = value;
  }
  return made;
}

/** A value as a field shows it. */
export function shown(value) {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value) && value.every((one) => one === null || typeof one !== "object")) return value.join(", ");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** What was typed, as the API takes it. What fits no kind is sent as it is: the server says what is wrong with it. */
export function typed(field, text) {
  const bare = text.trim();
  const { kinds } = field;
  if (bare === "" || bare === "null") return kinds.has("null") ? null : kinds.has("array") ? [] : bare;
  if (kinds.has("boolean") && (bare === "true" || bare === "false")) return bare === "true";
  if ((kinds.has("number") || kinds.has("integer")) && Number.isFinite(Number(bare))) return Number(bare);
  if (/^[[{]/.test(bare) && (kinds.has("array") || kinds.has("object"))) {
    try {
      return JSON.parse(bare);
    } catch {
      return bare;
    }
  }
  if (kinds.has("array")) {
    const parts = bare.split(",").map((one) => one.trim()).filter(Boolean);
    // One text where one will do: data.path takes a text or a list of them.
    if (parts.length === 1 && kinds.has("string")) return parts[0];
    return field.numbers ? parts.map((one) => (Number.isFinite(Number(one)) ? Number(one) : one)) : parts;
  }
  return bare;
}

/** "predictor.learning_rate" as words: Learning rate. */
export function words(name) {
  const text = name.replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

// ---- as YAML ----

const PLAIN = /^[A-Za-z_/][\w ./+-]*$/;
const MEANT = /^(true|false|yes|no|on|off|null|y|n|~)$/i;

function scalar(value) {
  if (value === null || value === undefined) return "null";
  if (typeof value === "number") {
    // YAML reads 1e-7 as a text: a number has a point before its exponent.
    const text = String(value);
    return /e/.test(text) && !/\./.test(text) ? text.replace("e", ".0e") : text;
  }
  if (typeof value === "boolean") return String(value);
  const text = String(value);
  return PLAIN.test(text) && !MEANT.test(text) && text === text.trim() ? text : JSON.stringify(text);
}

const flow = (value) => {
  if (Array.isArray(value)) return `[${value.map(flow).join(", ")}]`;
  if (value !== null && typeof value === "object") return `{${Object.entries(value).map(([name, one]) => `${scalar(name)}: ${flow(one)}`).join(", ")}}`;
  return scalar(value);
};

/** Nested values as YAML that reads back to the same. */
export function yaml(values, indent = "") {
  return Object.entries(values)
    .map(([name, value]) => {
      const nested = value !== null && typeof value === "object" && !Array.isArray(value) && Object.keys(value).length > 0;
      return nested ? `${indent}${scalar(name)}:\n${yaml(value, `${indent}  `)}` : `${indent}${scalar(name)}: ${flow(value)}\n`;
    })
    .join("");
}
