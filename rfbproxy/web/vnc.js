/** The viewer of VNC consoles: noVNC's RFB class, in the form that console.js drives. */

import RFB from './novnc/core/rfb.js';

export class Viewer {
    rfb = null;

    constructor(screen, url, options, told) {
        this.socket = new WebSocket(url);
        // Before noVNC takes the socket: its own listener would end the RFB object first, and drop code and reason.
        this.socket.addEventListener('close', told.closed);
        try {
            this.rfb = new RFB(screen, this.socket, { shared: options.shared });
        } catch (error) {
            console.error(error);
            told.ended({ clean: false });
            this.socket.close();
            return;
        }
        this.#prepare(options);
        this.#listen(told);
    }

    #prepare({ fit, viewOnly, resize, quality, compression }) {
        this.rfb.background = 'transparent';
        this.rfb.viewOnly = viewOnly;
        this.rfb.scaleViewport = fit;
        this.rfb.resizeSession = resize;
        for (const [property, level] of [['qualityLevel', quality], ['compressionLevel', compression]]) {
            if (/^[0-9]$/.test(level)) {
                this.rfb[property] = Number(level);
            }
        }
    }

    #listen(told) {
        this.rfb.addEventListener('connect', () => told.connected());
        this.rfb.addEventListener('desktopname', (event) => told.named(event.detail.name));
        this.rfb.addEventListener('securityfailure', (event) => told.denied(event.detail.reason ?? ''));
        for (const question of ['credentialsrequired', 'serververification']) {
            this.rfb.addEventListener(question, () => {
                told.asked();
                this.rfb.disconnect();
            });
        }
        this.rfb.addEventListener('disconnect', (event) => told.ended({ clean: event.detail.clean }));
        this.rfb.addEventListener('clipboard', (event) => told.copied(event.detail.text));
    }

    set fit(fit) {
        this.rfb.scaleViewport = fit;
    }

    focus() {
        this.rfb?.focus({ preventScroll: true });
    }

    sendCtrlAltDel() {
        this.rfb.sendCtrlAltDel();
    }

    stop() {
        if (this.socket.readyState < WebSocket.CLOSING) { // else noVNC has ended, and complains of being told twice
            this.rfb?.disconnect();
        }
    }
}
