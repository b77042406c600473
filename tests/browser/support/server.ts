// Starts the servers that the journeys talk to: the real gate with a scripted engine, or the whole
// program. Each has its own port and its own state folder.
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildDir, siteDir } from './places';

const startMs = 60_000;
const codeShown = /\b[0-9A-Z]{4}-[0-9A-Z]{4}\b/;

export interface ServerOptions {
  args?: string[];
  port?: number; // 0: any free one
  state?: string; // an existing state folder: the sessions in it stay valid
}

export class Server {
  code = '';
  origin = '';
  private child: ChildProcess | null = null;
  private output = '';
  private readonly ownState: boolean;

  private constructor(
    private readonly command: string,
    private readonly args: (server: Server) => string[],
    readonly state: string,
    own: boolean,
  ) {
    this.ownState = own;
  }

  get port(): number {
    return Number(new URL(this.origin).port);
  }

  static async scripted(options: ServerOptions = {}): Promise<Server> {
    const command = process.env.NAUTILE_SCRIPTED ?? join(buildDir, 'scripted_serve');
    return Server.start(command, options, (state, port) => [
      ...['--web', siteDir, '--state', state, '--port', String(port)],
      ...(options.args ?? []),
    ]);
  }

  private static async start(
    command: string,
    options: ServerOptions,
    args: (state: string, port: number) => string[],
  ): Promise<Server> {
    const own = options.state === undefined;
    const state = options.state ?? mkdtempSync(join(tmpdir(), 'nautile-browser-'));
    const make = (server: Server): string[] =>
      args(state, server.origin === '' ? (options.port ?? 0) : server.port);
    const server = new Server(command, make, state, own);
    await server.run();
    return server;
  }

  /** Starts the process; after kill() on the same port and with the same state. */
  async run(): Promise<void> {
    this.output = '';
    const child = spawn(this.command, this.args(this), { stdio: ['ignore', 'pipe', 'pipe'] });
    this.child = child;
    await new Promise<void>((ready, fail) => {
      const late = setTimeout(() => fail(new Error(`not started: ${this.output}`)), startMs);
      const read = (data: Buffer): void => {
        this.output += data.toString();
        const origin = /http:\/\/127\.0\.0\.1:\d+/.exec(this.output);
        const code = codeShown.exec(this.output);
        if (origin === null || (code === null && this.code === '')) return;
        this.origin = origin[0];
        if (code !== null) this.code = code[0];
        clearTimeout(late);
        ready();
      };
      child.stdout!.on('data', read);
      child.stderr!.on('data', read);
      child.on('error', fail);
      child.on('exit', (status) => fail(new Error(`ended with ${status}: ${this.output}`)));
    });
  }

  /** The newest one-time code that the console shows. */
  newestCode(): string {
    const all = this.output.match(new RegExp(codeShown, 'g')) ?? [];
    return all[all.length - 1] ?? this.code;
  }

  pause(): void {
    this.child?.kill('SIGSTOP');
  }

  resume(): void {
    this.child?.kill('SIGCONT');
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.child;
    this.child = null;
    if (child === null || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
  }

  async close(): Promise<void> {
    await this.kill();
    if (this.ownState) rmSync(this.state, { recursive: true, force: true });
  }
}
