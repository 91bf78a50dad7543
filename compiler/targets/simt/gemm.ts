/**
 * Matrix products: tiles of 64 x 64 results, each thread with 8 x 8 of them, operands in workgroup memory; for few rows, a thread
 * for each column of a row or of four, which waits for no other. Rows or terms of groups (experts) are sorted by their group
 * first, in their order, by one workgroup.
 */
import type { GemmKernel } from "../../kernel-ir/types.ts";
import { extentsOf } from "./axes.ts";
import type { Dialect, Part } from "./dialect.ts";
import type { Frame } from "./frame.ts";
import { columnOfThread } from "./gemm-few.ts";
import { GemmFrame, groupsOf } from "./gemm-frame.ts";
import { TilePrinter } from "./gemm-tile.ts";
import { printAdder, printKeep, sharesOf } from "./shares.ts";
import { printSort, printTilesOf, SORTERS } from "./sort.ts";
import { TILE } from "./tiles.ts";

export function printGemm(dialect: Dialect, kernel: GemmKernel, part?: Part): Frame {
  const own = new GemmFrame(dialect, kernel, part);
  own.print();
  printFewRows(own, part);
  const { groups } = kernel;
  if (groups !== undefined) {
    const axes = groups.over === "m" ? kernel.m : kernel.products[0]!.k;
    printSort(own.frame, axes, groupsOf(groups.group));
    printTilesOf(own.frame, TILE);
  }
  const shares = part === undefined ? sharesOf(kernel, dialect.tiles.enough) : undefined;
  printTiles(own, shares);
  return own.frame;
}

function printFewRows(own: GemmFrame, part?: Part): void {
  const { kernel, frame, dialect } = own;
  const { batch, m, n, products, groups } = kernel;
  const found = dialect.fewRows?.(kernel, part) ?? [];
  for (const { name, most, threads, rows, columns, print } of found.length > 0 ? found : [columnOfThread(own)]) {
    // Rows of experts are not taken together: they read different weights.
    const together = groups?.over === "m" ? {} : { by: rows };
    frame.entry(
      name,
      threads,
      [{ of: extentsOf(batch) }, { of: extentsOf(m), ...together }, { of: extentsOf(n), by: columns }],
      { upTo: { product: extentsOf(m), most } },
    );
    print(frame, {
      statistics: (product) => own.statistics(products[product]!),
      prologue: (threadsOfRow, group) => own.prologue(threadsOfRow, group),
    });
  }
}

function printTiles(own: GemmFrame, shares: number | undefined): void {
  const { kernel, frame, dtype } = own;
  const { batch, m, n, groups } = kernel;
  const tile = new TilePrinter(own, shares);
  const more = groups?.over === "m" ? { plus: groupsOf(groups.group) } : {};
  const tiles = [{ of: extentsOf(batch) }, { of: extentsOf(m), by: TILE, ...more }, { of: extentsOf(n), by: TILE }];
  if (shares !== undefined) {
    const workgroups = [{ of: [shares] }, ...tiles];
    printKeep(frame, kernel, shares, dtype);
    tile.print("share");
    printAdder(frame, "tile", kernel, shares, dtype, { name: "share", workgroupSize: tile.threads, workgroups });
    return;
  }
  const before = groups === undefined ? {} : { before: { name: "sort", workgroupSize: SORTERS, workgroups: [] } };
  frame.entry("tile", tile.threads, tiles, before);
  tile.print("tile");
}
