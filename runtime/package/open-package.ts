/** Packages in Node: models that are trained in folders and served over HTTP. */
import { join } from "node:path";
import { pageFolder } from "../serve/http/page.ts";
import type { StopEvent } from "../train/events.ts";
import type { Model, ModelNames, ModelServer, ServeOptions, TrainOptions } from "./model.ts";
import { type ModelOptions, OpenedModel } from "./open.ts";
import { type Device, readPackage } from "./read.ts";
import type { ModelSource } from "./source.ts";

export interface OpenOptions extends ModelOptions {
  /** `auto`, when not given, is CUDA where the package and the machine have it, else the CPU where the package has libraries for it, else WebGPU. */
  readonly device?: Device;
}

/**
 * Opens a package that `dskc build` wrote. Weights are mapped from their files where they lie there as kernels read them.
 * @throws Error for what is no package and for kernels that are not built for this machine; CheckpointError that names all
 *   weights that are missing or do not fit; MemoryError
 */
export async function openPackage<Names extends ModelNames = ModelNames>(
  directory: string,
  { device = "auto", ...options }: OpenOptions = {},
): Promise<Model<Names>> {
  return openModel<Names>(readPackage(directory, device), options);
}

/** Opens what stands for a package. @throws as `openPackage` does */
export async function openModel<Names extends ModelNames = ModelNames>(
  source: ModelSource,
  options: ModelOptions = {},
): Promise<Model<Names>> {
  const model = new ModelInNode(source, options);
  // Weights that do not fit are told now.
  if (model.hasWeights) await model.serving();
  return model as unknown as Model<Names>;
}

class ModelInNode extends OpenedModel implements Model {
  async train(name: string, options: TrainOptions = {}): Promise<StopEvent> {
    const training = this.training(name);
    const { trainInFolder } = await import("./train.ts");
    const folder = options.folder ?? join("runs", name);
    const end = await trainInFolder(this.source, training, {
      ...options,
      folder,
      threads: this.options.threads,
      tokenizer: this.options.tokenizer ?? this.source.files.tokenizerBeside(this.path) ?? this.source.tokenizer,
      weights: await this.weightsFor(training),
    });
    if (end.reason !== "failed") await this.load(folder);
    return end;
  }

  async serve(options: ServeOptions = {}): Promise<ModelServer> {
    const tokenizer = this.needTokenizer();
    const { engine } = await this.withWeights();
    const { startServer } = await import("../serve/http/server.ts");
    const { name, host, port, ...more } = options;
    const server = await startServer({
      engine,
      tokenizer,
      model: name ?? this.name,
      vocabulary: this.vocabulary,
      host: host ?? this.plan.host,
      port: port ?? this.plan.port,
      defaults: this.plan,
      talks: this.source.talks,
      page: pageFolder(),
      ...more,
    });
    const running: ModelServer = {
      url: server.url,
      get pending() {
        return engine.running + engine.waiting;
      },
      drain: async (milliseconds) => {
        this.servers.delete(running);
        await server.drain(milliseconds);
      },
    };
    this.servers.add(running);
    return running;
  }
}
