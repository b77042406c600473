// Starts the servers that the journeys talk to: the real gate with a scripted engine, or the whole
// program. Each has its own port and its own state folder.
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildDir, siteDir, starterModel } from './places';

const startMs = 120_000;
const codeShown = /\b[0-9A-Z]{4}-[0-9A-Z]{4}\b/;
const keyShown = /"api_key":\s*"([^"]+)"/;

interface Program {
  command: string;
  args(state: string, port: number): string[];
  ready: RegExp; // printed when it can be used
}

export class Server {
  code = '';
  key = ''; // of the API; a scripted server says it
  origin = '';
  private child: ChildProcess | null = null;
  private output = '';
  private readonly state = mkdtempSync(join(tmpdir(), 'nautile-browser-'));

  private constructor(private readonly program: Program) {}

  static async scripted(extra: string[] = []): Promise<Server> {
    return Server.start({
      command: process.env.NAUTILE_SCRIPTED ?? join(buildDir, 'scripted_serve'),
      args: (state, port) => ['--web', siteDir, '--state', state, '--port', `${port}`, ...extra],
      ready: /http:\/\//,
    });
  }

  /** The whole program with the starter model. */
  static async real(): Promise<Server> {
    return Server.start({
      command: process.env.NAUTILE ?? join(buildDir, 'nautile'),
      args: (_state, port) => ['serve', '--listen', `127.0.0.1:${port}`, '--model', starterModel],
      ready: /^Ready: /m,
    });
  }

  private static async start(program: Program): Promise<Server> {
    const server = new Server(program);
    await server.run();
    return server;
  }

  /** Starts the process; after kill() on the same port and with the same state. */
  async run(): Promise<void> {
    this.output = '';
    const port = this.origin === '' ? 0 : Number(new URL(this.origin).port);
    const env = { ...process.env, NAUTILE_HOME: this.state };
    const { command, args, ready } = this.program;
    const child = spawn(command, args(this.state, port), {
      stdio: ['ignore', 'pipe', 'pipe'],
      env,
    });
    this.child = child;
    await new Promise<void>((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`not started: ${this.output}`)), startMs);
      const read = (data: Buffer): void => {
        this.output += data.toString();
        const origin = /http:\/\/127\.0\.0\.1:\d+/.exec(this.output)?.[0];
        const code = codeShown.exec(this.output)?.[0];
        if (origin === undefined || code === undefined || !ready.test(this.output)) return;
        this.origin = origin;
        this.code = code;
        this.key = keyShown.exec(this.output)?.[1] ?? '';
        clearTimeout(late);
        resolve();
      };
      child.stdout.on('data', read);
      child.stderr.on('data', read);
      child.on('error', reject);
      child.on('exit', (status) => reject(new Error(`ended with ${status}: ${this.output}`)));
    });
  }

  /** The newest one-time code that the console shows. */
  newestCode(): string {
    return this.output.match(new RegExp(codeShown, 'g'))?.pop() ?? this.code;
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

  async close(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.kill(signal);
    rmSync(this.state, { recursive: true, force: true });
  }
}
