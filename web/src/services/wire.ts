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

/** A configured model that the server could not open: what happened, why, what to do. */
export interface Unusable {
  id: string;
  reason: string;
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
  error?: { message: string; code?: string } | string;
}

export type Frame =
  | GenerationFrame
  | { kind: 'ping' }
  | { kind: 'state'; what: 'conversations' | 'models' | 'signed_out' };
