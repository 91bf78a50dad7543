/** JSON that others wrote: read strictly, and shown in messages. */

/** An object that names a key twice; `path` leads to it through the objects around it. */
export class RepeatedKeyError extends SyntaxError {
  readonly path: readonly string[];

  constructor(path: readonly string[]) {
    super(`the key ${shown(path.join("."))} stands twice`);
    this.path = path;
  }
}

/**
 * The value of a JSON text. JSON.parse keeps the last of equal keys and hides the others: here they are an error.
 * @throws SyntaxError, RepeatedKeyError
 */
export function parseJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  const path = repeatedKey(text);
  if (path !== undefined) throw new RepeatedKeyError(path);
  return value;
}

interface Scope {
  /** Of an object; undefined of a list. */
  readonly keys: Set<string> | undefined;
  last: string;
}

/** Of a text that is JSON. Keys are compared as they read: `"\u0061"` is `"a"`. */
function repeatedKey(text: string): string[] | undefined {
  const scopes: Scope[] = [];
  let isKey = false;
  for (let at = 0; at < text.length; at++) {
    switch (text[at]) {
      case "{":
        scopes.push({ keys: new Set(), last: "" });
        isKey = true;
        break;
      case "[":
        scopes.push({ keys: undefined, last: "" });
        isKey = false;
        break;
      case "}":
      case "]":
        scopes.pop();
        break;
      case ",":
        isKey = scopes.at(-1)!.keys !== undefined;
        break;
      case ":":
        isKey = false;
        break;
      case '"': {
        const end = endOfString(text, at);
        const scope = scopes.at(-1);
        if (isKey && scope?.keys !== undefined) {
          scope.last = JSON.parse(text.slice(at, end)) as string;
          if (scope.keys.has(scope.last)) return scopes.flatMap(({ keys, last }) => (keys === undefined ? [] : [last]));
          scope.keys.add(scope.last);
        }
        at = end - 1;
      }
    }
  }
  return undefined;
}

function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at + 1;
}

const LONGEST = 60;

/** A value as messages show it: JSON, cut when it is long. */
export function shown(value: unknown): string {
  let text: string;
  try {
    text = typeof value === "number" ? String(value) : (JSON.stringify(value) ?? String(value));
  } catch {
    // Nested deeper than the stack.
    text = Array.isArray(value) ? "[...]" : "{...}";
  }
  return text.length <= LONGEST ? text : `${text.slice(0, LONGEST - 3)}...`;
}

const LONGEST_NAME = 200;

/** A name of a file, a tensor or a key as messages show it: control characters escaped, cut when it is long. */
export function plain(name: string): string {
  const text = JSON.stringify(name).slice(1, -1).replaceAll('\\"', '"');
  return text.length <= LONGEST_NAME ? text : `${text.slice(0, LONGEST_NAME - 3)}...`;
}

/** Such a name between backquotes. */
export function named(name: string): string {
  return `\`${plain(name)}\``;
}
