/**
 * The console page: a viewer shows the machine, this file does everything around it.
 *
 * Its laws: it connects only to the origin it came from; it hears its WebSocket close, so that it can say why a session
 * ended; every text that came from outside is set by textContent; it asks for nothing and stores nothing.
 *
 * The viewer comes from viewer.js, which is vnc.js or spice.js, as the listener's protocol wants it. It has `focus()`,
 * `sendCtrlAltDel()`, `stop()`, the property `fit`, and `socket`, whose close event says why the session ended. What it
 * has to say goes to the functions of `listen()` below.
 */

/** The states of the page and the sentence of each, shown unless a better one is known. html[data-state] is the key. */
const STATES = Object.freeze({
    connecting: 'Connecting to the machine.',
    connected: 'Connected to the machine.',
    refused: 'The console was not opened.', // somebody said no before there was a screen
    closed: 'The console was closed.', // it ended, or never began without anybody having said no
});

/** The page's own sentences, each with its explanation. All others come from the console service. */
const OWN = Object.freeze({
    unreachable: ['The console service cannot be reached.', 'Please check your network, or try again in a moment.'],
    lost: ['The connection was lost.', 'The machine is not affected. Reconnect to see its screen again.'],
    ended: ['The session has ended.', ''],
    unexplained: ['The console service closed the connection.', 'It gave no reason. Please try again in a moment.'],
    broken: ['The console sent something that is not understood.', 'Please tell your operator if it happens again.'],
    credentials: ['The console asks for a login that the service should have made.', 'Please tell your operator.'],
    foreign: ['This link leads to a console outside this site, so it was not opened.', 'Please ask for a new link.'],
    unloadable: ['This page could not be loaded completely.', 'Please check your network and try again.'],
});

const EXPLANATIONS = new Map([
    ['Target closed', 'The machine closed its console. It may have been switched off, restarted or moved.'],
]);

const BUILT_IN = Object.freeze({
    path: 'websockify', token: '', host: '', port: '', encrypt: '', title: '', resize: 'scale', view_only: false,
    shared: true, quality: '', compression: '', reconnect: false, reconnect_delay: 5000,
});

const FINAL_CODES = [1000, 1008]; // a session that ended so, or a token refused so, is not tried again
const MOST_RETRIES = 10;
const LONGEST_DELAY_MS = 60_000;
const LASTING_SESSION_MS = 30_000; // a session that lasted so long makes the next delay short again
const LATE_CLOSE_MS = 1000; // how long the close event may stay away after the viewer has ended
const SETTINGS_TIMEOUT_MS = 5000;

// ---- settings ----------------------------------------------------------------------------------------------------

/** The settings in noVNC's order: mandatory.json, fragment, query, defaults.json, built in. */
async function readSettings() {
    const [mandatory, defaults] = await Promise.all([fetchSettings('mandatory.json'), fetchSettings('defaults.json')]);
    const sources = [mandatory, parseParameters(location.hash), parseParameters(location.search), defaults, BUILT_IN];
    const settings = {};
    for (const name of Object.keys(BUILT_IN)) {
        settings[name] = sources.find((source) => Object.hasOwn(source, name))[name];
    }
    return settings;
}

async function fetchSettings(url) {
    try {
        const response = await fetch(url, { cache: 'no-cache', signal: AbortSignal.timeout(SETTINGS_TIMEOUT_MS) });
        const settings = response.ok ? await response.json() : {};
        return settings instanceof Object ? settings : {};
    } catch {
        return {};
    }
}

/** As noVNC reads them: the last of a name wins, "+" is a plus. Only in a title is it the space that Horizon means. */
function parseParameters(text) {
    const list = text.replace(/^[#?]+/, '');
    const parameters = Object.fromEntries(new URLSearchParams(list.replaceAll('+', '%2B')));
    const title = new URLSearchParams(list).getAll('title').at(-1);
    return title === undefined ? parameters : { ...parameters, title };
}

function isOn(value) {
    return ['true', '1', 'yes', 'on'].includes(String(value).toLowerCase());
}

/** The WebSocket's URL, or null where the settings lead to another origin than the page's. */
function socketURL({ path, token, host, port, encrypt }) {
    let url;
    try {
        if (host || Number(port)) {
            const secure = encrypt === '' ? location.protocol === 'https:' : isOn(encrypt);
            const authority = `${host || location.hostname}${Number(port) ? `:${port}` : ''}`;
            url = new URL(`./${path}`, `${secure ? 'https' : 'http'}://${authority}/`);
        } else {
            url = new URL(path, location.href);
        }
    } catch {
        return null;
    }
    url.protocol = url.protocol.replace(/^ws/, 'http');
    if (url.protocol !== location.protocol || url.host !== location.host) {
        return null;
    }
    url.protocol = url.protocol.replace(/^http/, 'ws');
    url.username = url.password = url.hash = '';
    if (token && !url.searchParams.has('token')) {
        url.search += `${url.search ? '&' : '?'}token=${encodeURIComponent(token)}`;
    }
    return url.href;
}

// ---- what is seen ------------------------------------------------------------------------------------------------

const element = Object.fromEntries([...document.querySelectorAll('[id]')].map((found) => [found.id, found]));
let state = 'connecting';

function show(newState, sentence = STATES[newState], explanation = '') {
    state = newState;
    document.documentElement.dataset.state = newState;
    const over = newState === 'refused' || newState === 'closed';
    setText(element.word, newState[0].toUpperCase() + newState.slice(1));
    setText(element.sentence, sentence);
    setText(element.explanation, explanation);
    element.explanation.hidden = !explanation;
    element.reconnect.hidden = !over;
    element['ctrl-alt-del'].disabled = element.fit.disabled = newState !== 'connected';
    if (over && document.hasFocus() && (document.activeElement === document.body || screenHasFocus())) {
        element.card.focus({ preventScroll: true }); // not the button: what is being typed would press it
    }
}

/** A text set again is announced again by screen readers. */
function setText(where, text) {
    if (where.textContent !== text) {
        where.textContent = text;
    }
}

function showName(name) {
    setText(element.name, name.trim() || 'Console');
    element.name.title = document.title = element.name.textContent;
}

function screenHasFocus() {
    return element.screen.contains(document.activeElement);
}

// ---- one visit ---------------------------------------------------------------------------------------------------

let Viewer = null; // the class
let settings = null;
let fit = true;
let visit = null; // the newest; what older ones still report is ignored
let retries = 0;
let retryTimer = 0;
let everConnected = false;

function connect() {
    clearTimeout(retryTimer);
    visit?.viewer?.stop();
    const url = socketURL(settings);
    if (url === null) {
        show('refused', ...OWN.foreign);
        element.reconnect.hidden = true;
        return;
    }
    show('connecting');
    const here = { viewer: null, connectedAt: null, denied: false, refusal: '', broken: false, over: false };
    visit = here;
    here.viewer = new Viewer(element.screen, url, {
        fit,
        viewOnly: isOn(settings.view_only),
        resize: settings.resize === 'remote', // the machine's screen, to the window's size
        shared: isOn(settings.shared),
        quality: settings.quality,
        compression: settings.compression,
    }, listen(here));
}

/** What a viewer tells. */
function listen(here) {
    return {
        /** The machine's screen can be seen. */
        connected() {
            here.connectedAt = performance.now();
            everConnected = true;
            show('connected');
            here.viewer.focus();
        },
        named(name) {
            showName(name || settings.title);
        },
        /** Somebody said no; `sentence` is empty where only the close event will say why. */
        denied(sentence) {
            here.denied = true;
            here.refusal = sentence;
        },
        /** The machine wants to know something of the person. */
        asked() {
            here.denied = true;
            here.refusal = OWN.credentials[0];
            showEnd(here);
        },
        /** The viewer is done; not `clean`: by itself. The close event may be on its way. */
        ended({ clean }) {
            here.broken = !clean && !here.denied && !here.over;
            if (here.refusal || here.broken) {
                showEnd(here);
            }
            setTimeout(() => finish(here, null), LATE_CLOSE_MS);
        },
        closed(event) {
            finish(here, event);
        },
        copied(text) {
            if (document.hasFocus()) {
                navigator.clipboard?.writeText(text).catch(() => {});
            }
        },
    };
}

/** The visit is over. `event` is the WebSocket's close event, null where it stayed away. */
function finish(here, event) {
    if (here.over) {
        return;
    }
    here.over = true;
    here.viewer.stop();
    const delay = retryDelay(here, event?.code);
    showEnd(here, event, delay && `Reconnecting in ${Math.ceil(delay / 1000)} s.`);
    if (delay && here === visit) {
        retries += 1;
        retryTimer = setTimeout(connect, delay);
    }
}

function showEnd(here, event = null, prospect = '') {
    if (here !== visit) {
        return;
    }
    const [how, sentence, explanation] = explain(here, event?.code, event?.reason);
    show(how, sentence, prospect || explanation);
}

/** Why it ended: the RFB refusal, else the close reason, else a sentence of the page. */
function explain({ connectedAt, denied, refusal, broken }, code, reason) {
    const connected = connectedAt !== null;
    if (refusal) {
        return ['refused', refusal, refusal === OWN.credentials[0] ? OWN.credentials[1] : ''];
    }
    if (broken) {
        return ['closed', ...OWN.broken];
    }
    if (reason) {
        return [connected ? 'closed' : 'refused', reason, EXPLANATIONS.get(reason) ?? ''];
    }
    if (connected) {
        return ['closed', ...(code === 1006 ? OWN.lost : OWN.ended)];
    }
    return code === 1006 && !denied ? ['closed', ...OWN.unreachable] : ['refused', ...OWN.unexplained];
}

/** Milliseconds until the page connects again by itself, 0 for never. Each try waits twice as long as the last. */
function retryDelay(here, code) {
    if (here.connectedAt !== null && performance.now() - here.connectedAt > LASTING_SESSION_MS) {
        retries = 0;
    }
    const hopeful = code && !FINAL_CODES.includes(code) && !here.broken && retries < MOST_RETRIES;
    if (!isOn(settings.reconnect) || !everConnected || !hopeful) {
        return 0;
    }
    const first = Math.max(1000, Number(settings.reconnect_delay) || BUILT_IN.reconnect_delay);
    const spread = 1 + Math.random() / 5; // the viewers of one proxy must not come back all at once
    return Math.max(first, Math.min(first * 2 ** retries * spread, LONGEST_DELAY_MS));
}

// ---- the bar -----------------------------------------------------------------------------------------------------

/** The button's work; after a click or a tap (not after a key) the keyboard belongs to the machine again. */
function onPress(button, work) {
    button.addEventListener('click', (event) => {
        work();
        if (event.detail > 0 && state === 'connected') {
            visit.viewer.focus();
        }
    });
}

function setPressed(button, pressed) {
    button.setAttribute('aria-pressed', String(pressed));
}

function wireBar() {
    onPress(element['ctrl-alt-del'], () => visit.viewer.sendCtrlAltDel());
    onPress(element.fit, () => {
        fit = !fit;
        visit.viewer.fit = fit;
        setPressed(element.fit, fit);
    });
    element['full-screen'].hidden = !document.fullscreenEnabled;
    onPress(element['full-screen'], () => {
        const page = document.documentElement;
        const change = document.fullscreenElement ? document.exitFullscreen() : page.requestFullscreen();
        change.catch(() => {}); // the browser said no, and the page stays as it is
    });
    document.addEventListener('fullscreenchange', () => {
        setPressed(element['full-screen'], document.fullscreenElement !== null);
    });
    element.reconnect.addEventListener('click', () => {
        if (Viewer === null) {
            location.reload(); // a module that failed to load fails for as long as the page lives
            return;
        }
        retries = 0;
        connect();
    });
    element.screen.addEventListener('click', () => visit?.viewer?.focus());
}

async function start() {
    wireBar();
    const loading = import('./viewer.js');
    loading.catch(() => {}); // awaited below, after the settings
    settings = await readSettings();
    showName(String(settings.title));
    fit = settings.resize !== 'off';
    setPressed(element.fit, fit);
    element['view-only'].hidden = !isOn(settings.view_only);
    element['ctrl-alt-del'].hidden = isOn(settings.view_only);
    try {
        ({ Viewer } = await loading);
    } catch (error) {
        console.error(error);
        show('closed', ...OWN.unloadable);
        return;
    }
    connect();
}

/** For the browser tests and for debugging, read-only: the newest visit's viewer, what it drives, and the state. */
window.consolePage = Object.freeze({
    get viewer() { return visit?.viewer ?? null; },
    get rfb() { return visit?.viewer?.rfb ?? null; }, // noVNC's object, of a VNC console
    get main() { return visit?.viewer?.main ?? null; }, // spice-html5's, of a SPICE console
    get socket() { return visit?.viewer?.socket ?? null; },
    get state() { return state; },
    states: STATES,
});

start();
