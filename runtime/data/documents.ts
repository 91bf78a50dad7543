/**
 * Tokenized documents that can be read in any order. Numbers of documents run from 0 on and stay the same while their files
 * do.
 */
export interface Documents {
  readonly count: number;
  /** Tokens of all documents. */
  readonly tokens: number;
  /** Tokens of a document, what begins and ends it included. */
  length(document: number): number;
  /** Tokens `from` up to and without `to` of a document. */
  read(document: number, from: number, to: number): Int32Array;
  /** 1 for tokens that are targets, 0 for those that are given (questions of a conversation); undefined where all are. */
  counted(document: number, from: number, to: number): Uint8Array | undefined;
  /** 32 bits of a hash of the content: what the validation split looks at. */
  hash(document: number): number;
}

/** Some of the documents, in the order of `chosen`. */
export function chosenDocuments(all: Documents, chosen: Uint32Array): Documents {
  let tokens = 0;
  for (const document of chosen) tokens += all.length(document);
  return {
    count: chosen.length,
    tokens,
    length: (document) => all.length(chosen[document]!),
    read: (document, from, to) => all.read(chosen[document]!, from, to),
    counted: (document, from, to) => all.counted(chosen[document]!, from, to),
    hash: (document) => all.hash(chosen[document]!),
  };
}

/** Documents without what lies behind `longest` tokens. */
export function shortenedDocuments(all: Documents, longest: number): Documents {
  const length = (document: number): number => Math.min(longest, all.length(document));
  let tokens = 0;
  for (let document = 0; document < all.count; document++) tokens += length(document);
  return {
    count: all.count,
    tokens,
    length,
    read: (document, from, to) => all.read(document, from, to),
    counted: (document, from, to) => all.counted(document, from, to),
    hash: (document) => all.hash(document),
  };
}
