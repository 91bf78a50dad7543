/** What a serve section says about one machine, as plain data: an entry of `serve.json` in a package. */
export interface ServePlan {
  /** The name of the serve section. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** Longest prompt and answer together, in tokens. */
  readonly context: number;
  /** Positions of a page of the cache. */
  readonly pageSize: number;
  /** Tokens that the look-ahead modules guess; 0 for no guessing. */
  readonly draftTokens: number;
  readonly temperature: number;
  readonly topP: number;
  /** 0 for all. */
  readonly topK: number;
}

/** `serve.json`. */
export interface PackageServing {
  readonly format: 1;
  /** Bytes of a position in the caches of all layers, and with those of look-ahead modules. */
  readonly cacheRowBytes: { readonly own: number; readonly withDrafts: number };
  /** Whether the model was trained on conversations; true where nobody knows. */
  readonly talks: boolean;
  readonly plans: readonly ServePlan[];
}

/** Of a model without a serve section: what the standard library says where a section says nothing. */
export const DEFAULT_SERVE_PLAN: ServePlan = {
  name: "",
  host: "127.0.0.1",
  port: 8000,
  context: 4096,
  pageSize: 64,
  draftTokens: 0,
  temperature: 1,
  topP: 1,
  topK: 0,
};

/** Rows of caches for a context when nobody says how many: room for some answers of full length, whole pages. */
export function usualCacheRows(context: number, pageSize: number): number {
  return wholePages(Math.max(context, Math.min(16 * context, 65_536)), pageSize);
}

/** Rows of at least so many positions. */
export function wholePages(positions: number, pageSize: number): number {
  return Math.ceil(positions / pageSize) * pageSize;
}
