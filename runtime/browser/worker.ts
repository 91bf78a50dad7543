/** What runs in the worker of a model. */
import { host } from "./host.ts";
import type { Port } from "./messages.ts";

host(globalThis as unknown as Port);
