/** The shapes of docs/site-wire.md. Names of wire fields live here and in api.ts only. */
export interface Model {
  id: string;
  name: string;
  architecture: string;
  quantization: string;
  parameters: number;
  weight_bytes: number;
  context_tokens: number;
  loaded: boolean;
  load_ms: number;
  thinking: 'never' | 'optional' | 'always';
  starter: boolean;
  sees?: boolean;
  drawn_side?: number; // pixels each way of what it draws; 0: it does not
  defaults?: { temperature?: number; top_p?: number };
}

/** What happened, why, what to do: in English, and in French where the server has the words. */
export interface ErrorParts {
  kind: string;
  what: string;
  why: string;
  next: string;
  fr?: { what: string; why: string; next: string };
}

/** A configured model that the server could not open. */
export interface Unusable {
  id: string;
  reason: string;
  error?: ErrorParts;
}

/** The one download of the server. */
export interface Pull {
  state: 'planning' | 'fetching' | 'checking' | 'opening' | 'done' | 'paused' | 'failed';
  reference: string;
  name: string;
  model: string | null;
  bytes_total: number;
  bytes_here: number;
  bytes_per_second: number;
  left_ms: number | null;
  resumable: boolean;
  error: ErrorParts | null;
}

export interface PullRules {
  allowed: 'any' | 'catalogue' | 'off';
  proposed: string | null;
}

export interface CatalogueRow {
  name: string;
  short_name: string;
  reference: string;
  licence: string;
  bytes: number;
  memory_bytes: number;
  parameters_b: number;
  tokens_per_s: number | null;
  fits: boolean;
  from_disk: boolean;
  proposed: boolean;
  runs: boolean;
  installed: string | null;
  command: string;
}

export interface Catalogue {
  memory_bytes: number;
  free_bytes: number;
  bandwidth_gb_per_s: number;
  allowed: PullRules['allowed'];
  models: CatalogueRow[];
}

export interface Summary {
  id: string;
  title: string;
  updated_unix_ms: number;
  model: string;
}

export interface Running {
  generation: string;
  conversation: string;
  answer?: string;
}

export interface ReadySession {
  state: 'ready';
  version: string;
  member: { mode: string };
  history: 'memory' | 'sealed';
  models: Model[];
  unusable: Unusable[];
  /** The engine has not said yet which models there are. */
  opening: boolean;
  default_model: string | null;
  pull_command: string | null;
  pull: PullRules & { current: Pull | null };
  conversations: Summary[];
  running: Running[];
  limits: {
    message_bytes_max: number;
    request_bytes_max: number;
    conversations_max: number;
    picture_bytes_max: number;
    pictures_bytes_max: number;
    pictures_max: number;
  };
  draft_key?: string;
}

export type Session = { state: 'setup' | 'signin'; version: string } | ReadySession;

export interface Usage {
  prompt_tokens: number;
  cached_tokens: number;
  completion_tokens: number;
  reasoning_tokens: number;
  queue_ms: number;
  prompt_ms: number;
  decode_ms: number;
  thinking_ms: number;
}

export type EndReason =
  | 'stop'
  | 'length'
  | 'cancelled'
  | 'engine_died'
  | 'server_stopped'
  | 'failed';

export interface WireDrawing {
  side: number;
  pictures: { id: string | null; seed: number }[]; // null: not drawn (yet)
}

export interface WireNode {
  id: string;
  parent: string | null;
  role: 'user' | 'assistant';
  content: string;
  reasoning?: string;
  pictures?: { id: string }[];
  drawing?: WireDrawing;
  model?: string;
  end?: EndReason;
  context_full?: boolean;
  usage?: Usage;
  created_unix_ms: number;
}

export interface WireConversation extends Summary {
  messages: WireNode[];
}

export interface GenerationRequest {
  key: string;
  conversation: string;
  path: WireNode[];
  answer: string;
  model: string;
  thinking: 'default' | 'on' | 'off';
  thinking_tokens_max?: number;
  draw?: DrawWish;
}

/** The answer is to be pictures of what the question says. */
export interface DrawWish {
  pictures: number;
  seed?: number;
}

export interface GenerationFrame {
  generation: string;
  n: number;
  kind: 'queue' | 'load' | 'read' | 'reasoning' | 'answer' | 'sketch' | 'drawn' | 'end' | 'gone';
  position?: number;
  wait_ms_low?: number;
  wait_ms_high?: number;
  model?: string;
  remaining_ms?: number;
  fraction?: number;
  done?: number;
  total?: number;
  text?: string;
  ms?: number;
  picture?: number;
  row?: number;
  rows?: number;
  colours?: string; // base64 of 3 bytes a code
  id?: string;
  seed?: number;
  reason?: EndReason;
  context_full?: boolean;
  usage?: Usage;
  error?: { message: string; code?: string; parts?: ErrorParts } | string;
}

export type Frame =
  | GenerationFrame
  | { kind: 'ping' }
  | { kind: 'pull'; pull: Pull | null }
  | { kind: 'state'; what: 'conversations' | 'models' | 'signed_out' };
