/** The models: what is here, what can be fetched, and the download that runs. */
import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { bytes, decimal, number, t } from '../i18n';
import { Button } from '../components/button';
import { Download, useModel } from '../components/download';
import { facts } from '../components/header';
import { UnusableList } from '../components/no_model';
import { PageHead } from '../components/page_head';
import {
  asking,
  catalogue,
  catalogueTrouble,
  isRunning,
  ordered,
  pull,
  readCatalogue,
  refusal,
  startPull,
} from '../stores/pulls';
import { model, models, unusable } from '../stores/session';
import type { Catalogue, CatalogueRow } from '../services/wire';

function Use({ id, name }: { id: string; name: string }) {
  const label = t('models.use');
  return <Button label={label} name={`${label}: ${name}`} onClick={() => useModel(id)} />;
}

function Installed() {
  const now = model.value;
  return (
    <section class="settings-section">
      <h2>{t('models.here')}</h2>
      {models.value.length === 0 && <p class="note">{t('models.none')}</p>}
      <ul class="model-list">
        {models.value.map((m) => (
          <li key={m.id} class="model-row">
            <div class="model-what">
              <h3 dir="auto">{m.name}</h3>
              <p class="note">
                {[m.starter && t('models.demo'), facts(m)].filter(Boolean).join(' · ')}
              </p>
            </div>
            {m.id === now?.id ? (
              <span class="note">{t('models.chosen')}</span>
            ) : (
              <Use id={m.id} name={m.name} />
            )}
          </li>
        ))}
      </ul>
      {unusable.value.length > 0 && (
        <>
          <h3>{t('models.unusable')}</h3>
          <UnusableList />
        </>
      )}
    </section>
  );
}

/** Starts a download; what came of it stands at the top of the page, wherever the button was. */
async function start(reference: string): Promise<boolean> {
  const started = await startPull(reference);
  requestAnimationFrame(() => {
    const place = document.getElementById('download');
    place?.scrollIntoView({ block: 'nearest' });
    if (started) place?.querySelector('h2')?.focus({ preventScroll: true });
  });
  return started;
}

/** Why a row has no button; empty: it has one. */
function hindrance(row: CatalogueRow, machine: Catalogue): string {
  if (!row.runs) return t('cat.notyet');
  if (row.fits || row.from_disk) return '';
  return t('cat.large', { n: bytes(row.memory_bytes), m: bytes(machine.memory_bytes) });
}

function Figures({ row }: { row: CatalogueRow }) {
  const speed =
    row.tokens_per_s === null
      ? '–'
      : t('cat.speed.n', { n: decimal(row.tokens_per_s, row.tokens_per_s < 10 ? 1 : 0) });
  const pairs: [string, string][] = [
    [t('cat.size'), bytes(row.bytes)],
    [t('cat.memory'), bytes(row.memory_bytes)],
    [t('cat.speed'), speed],
    [t('cat.licence'), row.licence],
  ];
  return (
    <dl class="cat-figures">
      {pairs.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Action({ row, machine }: { row: CatalogueRow; machine: Catalogue }) {
  const now = pull.value;
  const why = hindrance(row, machine);
  const id = row.installed;
  if (id !== null && models.value.some((m) => m.id === id)) {
    return <Use id={id} name={row.name} />;
  }
  if (id !== null) return <span class="note">{t('cat.installed')}</span>;
  if (why !== '') return null;
  if (machine.allowed === 'off') return <code class="command">{row.command}</code>;
  const mine = now !== null && now.reference === row.reference;
  if (mine && (isRunning(now) || now.state === 'opening')) {
    return <span class="note">{t('cat.running')}</span>;
  }
  const words = mine && now.bytes_here > 0 ? t('pull.resume') : t('pull.start');
  return (
    <Button
      kind={row.proposed ? 'main' : undefined}
      icon="save"
      label={words}
      name={`${words}: ${row.name}, ${bytes(row.bytes)}`}
      disabled={asking.value !== '' || isRunning(now) || now?.state === 'opening'}
      onClick={() => void start(row.name)}
    />
  );
}

function Row({ row, machine }: { row: CatalogueRow; machine: Catalogue }) {
  const why = hindrance(row, machine);
  const short = row.bytes > machine.free_bytes && row.installed === null && why === '';
  return (
    <li class={row.proposed ? 'model-row proposed' : 'model-row'}>
      <div class="model-what">
        <h3 dir="auto">
          {row.name}
          {row.proposed && <span class="badge">{t('cat.proposed')}</span>}
          {row.installed !== null && <span class="badge quiet">{t('cat.here')}</span>}
        </h3>
        <Figures row={row} />
        {why !== '' && <p class="note">{why}</p>}
        {row.from_disk && row.runs && <p class="note">{t('cat.disk')}</p>}
        {short && <p class="note warn">{t('cat.short', { n: bytes(machine.free_bytes) })}</p>}
      </div>
      <Action row={row} machine={machine} />
    </li>
  );
}

function Other() {
  const text = useSignal('');
  const now = pull.value;
  const go = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (text.value.trim() !== '' && (await start(text.value.trim()))) text.value = '';
  };
  return (
    <details class="other-model">
      <summary>{t('cat.other')}</summary>
      <form onSubmit={(event) => void go(event)}>
        <label class="field">
          <span>{t('cat.other.what')}</span>
          <input
            type="text"
            autocomplete="off"
            autocapitalize="off"
            spellcheck={false}
            placeholder="hf:ORG/REPO:Q4_K_M"
            value={text.value}
            onInput={(event) => (text.value = event.currentTarget.value)}
          />
        </label>
        <button
          type="submit"
          class="button plain"
          disabled={asking.value !== '' || isRunning(now) || now?.state === 'opening'}
        >
          {t('pull.start')}
        </button>
      </form>
    </details>
  );
}

function Machine({ machine }: { machine: Catalogue }) {
  const facts = { n: bytes(machine.memory_bytes), m: bytes(machine.free_bytes) };
  const speed = machine.bandwidth_gb_per_s;
  return (
    <>
      <p>{t('cat.machine', facts)}</p>
      <p class="note">
        {t('cat.about')} {speed > 0 && t('cat.bandwidth', { n: number(Math.round(speed)) })}
      </p>
      <p class="note">{t(machine.allowed === 'off' ? 'pull.off' : 'pull.privacy')}</p>
    </>
  );
}

function More() {
  const machine = catalogue.value;
  useEffect(() => void readCatalogue(), []);
  return (
    <section class="settings-section" aria-busy={machine === null && !catalogueTrouble.value}>
      <h2>{t('cat')}</h2>
      {machine === null && !catalogueTrouble.value && <p role="status">{t('cat.loading')}</p>}
      {catalogueTrouble.value && (
        <div class="row wrap" role="alert">
          <p>{t('cat.trouble')}</p>
          <Button label={t('retry')} onClick={() => void readCatalogue()} />
        </div>
      )}
      {machine !== null && (
        <>
          <Machine machine={machine} />
          <ul class="model-list">
            {ordered(machine.models).map((row) => (
              <Row key={row.name} row={row} machine={machine} />
            ))}
          </ul>
          {machine.allowed === 'any' && <Other />}
        </>
      )}
    </section>
  );
}

export function Models() {
  return (
    <main class="settings models">
      <PageHead title={t('models.page')} />
      <div class="settings-body" tabIndex={-1}>
        <div class="settings-section tight" id="download">
          <Download />
          {refusal.value !== '' && <p class="bad">{refusal.value}</p>}
        </div>
        <More />
        <Installed />
      </div>
    </main>
  );
}
