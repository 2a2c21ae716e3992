/**
 * The viewer of SPICE consoles: spice-html5's connections, in the form that console.js drives.
 *
 * Each channel has a WebSocket of its own, all with the URL of the main channel's, and so with its token.
 */

import { Constants } from './spice-html5/enums.js';
import { SpiceMainConn } from './spice-html5/main.js';
import { SpiceMiniData, SpiceMsgcKeyDown, SpiceMsgcKeyUp } from './spice-html5/spicemsg.js';
import { keycode_to_end_scan as scanCodeOf } from './spice-html5/utils.js';

const SCREEN_ID = 'spice-screen';
const INPUT = ['keydown', 'keyup', 'mousedown', 'mouseup', 'mousemove', 'wheel'];
const CTRL_ALT_DEL = [17, 18, 46]; // as KeyboardEvent.keyCode, which spice-html5 turns into scan codes
const RESIZED_MS = 500; // after which a window's new size is taken for its last
const MAIN_CLOSE_MS = 1000; // how long main's close event may stay away after another channel's

/** The main channel's connection, which knows all others. */
class MainConnection extends SpiceMainConn {
    #cursorAndPlayback = [];

    /** spice-html5 keeps its playback channel under this name too, and so would never close the first of the two. */
    get cursor() {
        return this.#cursorAndPlayback.find(({ type }) => type === Constants.SPICE_CHANNEL_CURSOR);
    }

    set cursor(connection) {
        if (connection) {
            this.#cursorAndPlayback.push(connection);
        }
    }

    get channels() {
        const others = [...this.#cursorAndPlayback, ...this.ports, ...Object.values(this.extra_channels ?? {})];
        return [this.display, this.inputs, ...others].filter(Boolean);
    }

    process_channel_message(message) {
        const known = super.process_channel_message(message);
        if (message.type === Constants.SPICE_MSG_MAIN_CHANNELS_LIST) {
            this.onchannels();
        }
        return known;
    }

    stop() {
        const { channels } = this;
        super.stop();
        channels.forEach((channel) => channel.cleanup());
    }
}

export class Viewer {
    #options;
    #told;
    #frame = document.createElement('div');
    #screen = document.createElement('div'); // what spice-html5 draws in, and sets the height and the cursor of
    #resizes = new ResizeObserver(() => this.#resized());
    #resizeTimer = 0;
    #additions = new MutationObserver((mutations) => this.#prepare(mutations));
    #connected = false;

    constructor(screen, url, options, told) {
        this.#options = options;
        this.#told = told;
        this.#frame.className = 'spice-frame';
        this.#screen.id = SCREEN_ID;
        this.#frame.append(this.#screen);
        screen.append(this.#frame);
        this.#resizes.observe(this.#frame);
        this.#additions.observe(this.#screen, { childList: true });
        this.#filterInput();
        document.addEventListener('mouseup', this.#release);
        this.main = new MainConnection({
            uri: url,
            screen_id: SCREEN_ID,
            password: '', // the token in the URL is the proof
            onerror: (error) => this.#fail(error),
            onagent: () => this.#resizeMachine(),
        });
        this.main.onchannels = () => this.#watchChannels();
        this.socket = this.main.ws;
        this.socket.addEventListener('close', told.closed);
    }

    get #canvas() {
        return this.#screen.querySelector('canvas');
    }

    /** Keep from the canvas, on their way down to it, the events that spice-html5 must not hear of. */
    #filterInput() {
        const hide = (event) => event.stopPropagation();
        // It would take the keyboard as the pointer comes, and give it away as the pointer goes.
        for (const type of ['mouseover', 'mouseout', ...(this.#options.viewOnly ? INPUT : [])]) {
            this.#screen.addEventListener(type, hide, true);
        }
        for (const type of ['keydown', 'keyup']) {
            this.#screen.addEventListener(type, (event) => {
                if (scanCodeOf(event.keyCode) === 0) { // it would open an alert
                    hide(event);
                }
            }, true);
        }
    }

    /** A button that was pressed on the canvas may be released elsewhere, which spice-html5 would not hear of. */
    #release = ({ target, button }) => {
        if (this.main.buttons_state && target !== this.#canvas) {
            this.#canvas?.dispatchEvent(new MouseEvent('mouseup', { button }));
        }
    };

    #watchChannels() {
        for (const channel of this.main.channels) {
            channel.onerror = () => {}; // not to be thrown; what matters of it comes as a close event
        }
        for (const channel of [this.main.display, this.main.inputs].filter(Boolean)) {
            channel.ws.addEventListener('message', () => this.#look());
            channel.ws.addEventListener('close', (event) => setTimeout(this.#told.closed, MAIN_CLOSE_MS, event));
        }
    }

    /** Connected is who sees a screen and can type. */
    #look() {
        const canType = (this.main.inputs?.state ?? 'ready') === 'ready';
        if (!this.#connected && this.#canvas && canType) {
            this.#connected = true;
            this.#told.connected();
        }
    }

    /** Something is wrong with the main channel. Where its WebSocket has closed, the close event says more. */
    #fail(error) {
        if (error instanceof Event || this.socket.readyState >= WebSocket.CLOSING) {
            return;
        }
        if (this.main.state !== 'error') {
            this.socket.close(); // it took too long
            return;
        }
        if (this.main.reply_link?.error || this.main.auth_reply?.auth_code) {
            this.#told.denied('');
        }
        this.#told.ended({ clean: false });
    }

    #prepare(mutations) {
        for (const added of mutations.flatMap(({ addedNodes }) => [...addedNodes])) {
            if (added instanceof HTMLVideoElement) {
                added.style.cssText = added.getAttribute('style'); // which the page's policy kept from being obeyed
            }
        }
        this.#layOut();
    }

    #resized() {
        this.#layOut();
        clearTimeout(this.#resizeTimer);
        this.#resizeTimer = setTimeout(() => this.#resizeMachine(), RESIZED_MS);
    }

    #layOut() {
        const canvas = this.#canvas;
        if (canvas !== null) {
            const { clientWidth: width, clientHeight: height } = this.#frame;
            this.#frame.classList.toggle('fit', this.#options.fit);
            this.#screen.style.scale = this.#options.fit ? Math.min(width / canvas.width, height / canvas.height) : 'none';
        }
    }

    /** Ask the machine's agent, if it has one, for a screen of the window's size. */
    #resizeMachine() {
        if (this.#options.resize && !this.#options.viewOnly) {
            const { clientWidth: width, clientHeight: height } = this.#frame;
            this.main.resize_window(0, width & ~7, height & ~7, 32, 0, 0); // X wants multiples of 8
        }
    }

    set fit(fit) {
        this.#options = { ...this.#options, fit };
        this.#layOut();
    }

    focus() {
        this.#canvas?.focus({ preventScroll: true });
    }

    sendCtrlAltDel() {
        this.#sendKeys(Constants.SPICE_MSGC_INPUTS_KEY_DOWN, SpiceMsgcKeyDown, CTRL_ALT_DEL);
        this.#sendKeys(Constants.SPICE_MSGC_INPUTS_KEY_UP, SpiceMsgcKeyUp, [...CTRL_ALT_DEL].reverse());
    }

    #sendKeys(type, Key, keyCodes) {
        for (const keyCode of keyCodes) {
            const message = new SpiceMiniData();
            message.build_msg(type, new Key({ keyCode }));
            this.main.inputs?.send_msg(message);
        }
    }

    stop() {
        document.removeEventListener('mouseup', this.#release);
        clearTimeout(this.#resizeTimer);
        this.#resizes.disconnect();
        this.#additions.disconnect();
        this.main.stop();
        this.#frame.remove();
    }
}
