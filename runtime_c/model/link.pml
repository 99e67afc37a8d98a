/* SPDX-License-Identifier: Apache-2.0
 *
 * A model of the link for spin: one device, and a host that writes two pieces of an input, runs the model, may stop
 * it, runs it again and reads the result. The host may be started anew at any time, the device may restart at any
 * time. The line loses, damages and duplicates frames; it keeps the order of what it carries, as a stream of bytes
 * does, so a frame that comes out of order is one that was sent again.
 *
 * What holds, whatever happens:
 *  - no request is executed twice in a session;
 *  - a run begins only after all writes before it, and is only stopped when that was asked for;
 *  - what the host reads was computed in its own session, by the run that it asked for last;
 *  - without a restart of the device every session that is not given up comes to its end, without an error;
 *  - the host has never more frames on their way than the window has room for, unless it did not wait long enough
 *    or the line duplicates;
 *  - nobody waits for ever: after silence there is always something to send again.
 *
 * Names are those of mtvm_kind, mtvm_error and the server's states. The requests that only look at tables are like
 * READ. Frames are the unit of the window. With -DBROKEN_... one rule is left out, and spin finds what comes of it.
 * Two rules could be left out on such a line, with such a host: that a repeated HELLO changes nothing, and that a run
 * waits for all earlier requests.
 */
#define WINDOW 2
#define AHEAD 2      /* the device's bits for requests, and the most that the host is ahead */
#define OPERATORS 2
#define UNHEARD 2
#define NUMBERS 7    /* a session has requests 1 to 6 at most */
#define MOST_SENT 14
#define ROOM 4       /* what a channel holds: what comes in excess is lost */
#define PLAIN 0      /* the CRC of a frame of no session; those of sessions are their nonces, 1 and up */
#define NOISE 255    /* a CRC that fits nothing */

mtype:kind = { HELLO, WRITE, READ, RUN, RUN_THROUGH, CANCEL, DAMAGED, STARTED, PROGRESS };
mtype:state = { IDLE, RUN_WHOLE, RUN_STEPS, STARTING };
mtype:status = { OK, ACCEPTED, ORDER, INPUT_MISSING, NOT_YET, CANCELLED };

/* kind, CRC, sequence number, for HELLO the nonce */
chan to_device = [ROOM] of { mtype:kind, byte, byte, byte };
/* kind, CRC, sequence number, status, for HELLO the nonce and for READ the data */
chan to_host = [ROOM] of { mtype:kind, byte, byte, mtype:status, byte };

/* what has happened so far; `early`: the host took for silence what was none */
byte losses, duplicates, restarts, early;
/* how many of them there may be, and how many sessions */
byte most_losses, most_duplicates, most_restarts, most_early, sessions;
bool overrun;
mtype:state state = STARTING;
byte nonce;                 /* of the device's session, 0 without one */
byte executed[21];          /* how often the device executed a request, by nonce and number */
#define EXECUTED(n, s) executed[(n) * NUMBERS + (s)]

/* What the line makes of a frame to the device. */
inline ask_device(k, c, n, v)
{
    if
    :: full(to_device) -> overrun = true
    :: nfull(to_device) -> to_device!k, c, n, v
    :: nfull(to_device) && duplicates < most_duplicates ->
        duplicates++;
        to_device!k, c, n, v;
        if
        :: nfull(to_device) -> to_device!k, c, n, v
        :: full(to_device) -> overrun = true
        fi
    :: losses < most_losses -> losses++
    :: nfull(to_device) && losses < most_losses -> losses++; to_device!k, NOISE, 0, 0
    fi
}

/* What the line makes of a frame to the host. */
inline tell_host(k, c, n, st, v)
{
    if
    :: full(to_host) -> overrun = true
    :: nfull(to_host) -> to_host!k, c, n, st, v
    :: nfull(to_host) && duplicates < most_duplicates ->
        duplicates++;
        to_host!k, c, n, st, v;
        if
        :: nfull(to_host) -> to_host!k, c, n, st, v
        :: full(to_host) -> overrun = true
        fi
    :: losses < most_losses -> losses++
    :: nfull(to_host) && losses < most_losses ->
        losses++;
        to_host!k, NOISE, 0, OK, 0
    fi
}

#include "device.pml"
#include "host.pml"

/* All of it at once has too many states; each pair of troubles meets in one of these. */
inline trouble(n, l, d, r, e)
{
    sessions = n;
    most_losses = l;
    most_duplicates = d;
    most_restarts = r;
    most_early = e
}

init
{
    atomic {
        if
        :: trouble(1, 1, 1, 0, 1)
        :: trouble(1, 2, 0, 0, 1)
        :: trouble(1, 2, 0, 1, 0)
        :: trouble(2, 1, 0, 1, 0)
        :: trouble(2, 0, 1, 1, 0)
        :: trouble(1, 0, 0, 1, 1)
        fi;
        run device();
        run host()
    }
}
