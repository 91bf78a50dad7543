/** The kernel of the runtime itself: part of every package. */
import { SHORTLIST_CUDA } from "../../../runtime/program/shortlist.ts";
import { fixed } from "../../emit/templates.ts";
import type { File } from "./file.ts";

export const SHORTLIST_FILE: File = { kernel: SHORTLIST_CUDA, text: fixed(`cuda/${SHORTLIST_CUDA.name}.cu`) };
