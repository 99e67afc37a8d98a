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
 *  - the host has never more frames on their way than the window has room for, unless it did not wait long enough,
 *    the line duplicates, or what the device says unasked gets damaged: that looks like the damage of an answer;
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
bool misled;                /* the host takes the damage of what was said unasked for that of an answer */
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
        misled = misled || k == PROGRESS || k == STARTED;
        to_host!k, NOISE, 0, OK, 0
    fi
}

/* ---- the device: runtime_c/src/mtvm_server.c ---- */

byte base, step, target, run_sequence, inputs, memory;
byte done;                  /* bit i: request `base + i` has been executed */
mtype:kind run_kind;
mtype:status run_status;
byte quiet;
bool has_run;

inline answer(k, n, st, v)
{
    tell_host(k, nonce, n, st, v)
}

inline complain()
{
    if
    :: nonce != 0 && quiet == 0 -> quiet = 1; tell_host(DAMAGED, PLAIN, 0, OK, 0)
    :: nonce != 0 && quiet != 0
#ifdef BROKEN_STARTED
    :: nonce == 0 && quiet == 0 -> quiet = 1; tell_host(STARTED, PLAIN, 0, OK, 0)
    :: nonce == 0 && quiet != 0
#else
    :: nonce == 0 && quiet == 0 -> quiet = 1; tell_host(STARTED, PLAIN, 0, OK, 0)
    :: nonce == 0 && quiet != 0 -> quiet = (quiet + 1) % UNHEARD
#endif
    fi
}

/* A request takes effect: once. */
inline execute(seq)
{
    EXECUTED(nonce, seq)++;
    assert(EXECUTED(nonce, seq) <= 1)
}

inline advance(steps)
{
    step = step + steps;
    if
    :: step == target ->
        memory = nonce;
        state = IDLE;
        run_status = OK;
        answer(run_kind, run_sequence, OK, 0)
    :: else -> tell_host(PROGRESS, nonce, run_sequence, OK, 0)
    fi
}

inline handle_hello()
{
    if
    :: value == nonce
    :: else ->
        nonce = value;
        base = 1;
        done = 0;
        step = 0;
        inputs = 0;
        has_run = false;
        state = IDLE
    fi;
    tell_host(HELLO, PLAIN, 0, OK, value)
}

inline handle_run()
{
    if
    :: repeated ->
        assert(has_run && run_sequence == seq);
        answer(what, seq, run_status, 0)
    :: !repeated ->
        run_sequence = seq;
        run_kind = what;
        has_run = true;
        if
        :: inputs < 2 -> run_status = INPUT_MISSING
        :: else ->
            assert(state == IDLE && inputs == 2);
            execute(seq);
            step = 0;
            target = OPERATORS;
            run_status = ACCEPTED;
            state = (what == RUN -> RUN_WHOLE : RUN_STEPS)
        fi;
        answer(what, seq, run_status, 0)
    fi
}

inline handle_other()
{
    if
    :: what == WRITE ->
        if
        :: repeated
        :: !repeated -> assert(state == IDLE); execute(seq); inputs++; step = 0
        fi;
        answer(what, seq, OK, 0)
    :: what == READ && step < OPERATORS -> answer(what, seq, NOT_YET, 0)
    :: what == READ && step >= OPERATORS -> answer(what, seq, OK, memory)
    :: what == CANCEL ->
        if
        :: !repeated && state == RUN_STEPS ->
            execute(seq);
            state = IDLE;
            run_status = CANCELLED;
            answer(run_kind, run_sequence, CANCELLED, 0)
        :: else
        fi;
        answer(what, seq, OK, 0)
    fi
}

inline handle()
{
    quiet = 0;
    repeated = seq < base || (seq - base < AHEAD && (done >> (seq - base)) & 1);
#ifdef BROKEN_REPETITION
    repeated = repeated && what != RUN && what != RUN_THROUGH;
#endif
    if
    :: !repeated && (what == RUN || what == RUN_THROUGH) && seq > base -> answer(what, seq, ORDER, 0)
    :: !repeated && seq - base >= AHEAD && seq > base -> answer(what, seq, ORDER, 0)
    :: else ->
        if
        :: !repeated && seq >= base -> done = done | (1 << (seq - base))
        :: else
        fi;
        do
        :: done & 1 -> done = done >> 1; base++
        :: else -> break
        od;
        if
        :: what == RUN || what == RUN_THROUGH -> handle_run()
        :: else -> handle_other()
        fi
    fi
}

proctype device()
{
    mtype:kind what;
    byte crc, seq, value;
    bool repeated;

end:
    do
    :: atomic { state == STARTING ->
        state = IDLE;
        tell_host(STARTED, PLAIN, 0, OK, 0) }
    :: atomic { state != STARTING && nempty(to_device) -> to_device?what,crc,seq,value;
        if
        :: crc == PLAIN && what == HELLO -> quiet = 0; handle_hello()
#ifdef BROKEN_NONCE
        :: crc != PLAIN && crc != NOISE && nonce != 0 -> handle()
#else
        :: crc != PLAIN && crc == nonce -> handle()
#endif
        :: else -> complain()
        fi;
        what = 0;
        crc = 0;
        seq = 0;
        value = 0;
        repeated = false }
    :: atomic { state == RUN_STEPS -> advance(1) }
    :: atomic { state == RUN_WHOLE -> advance(OPERATORS) }
    :: atomic { restarts < most_restarts ->
        restarts++;
        state = STARTING;
        nonce = 0;
        step = 0;
        inputs = 0;
        memory = 0;
        done = 0;
        base = 1;
        quiet = 0;
        has_run = false }
    od
}

/* ---- the host: microtvm/device/window.py and client.py ---- */

mtype:kind kinds[NUMBERS];  /* of the requests of this session, by number */
bool answered[NUMBERS], accepted[NUMBERS], again[NUMBERS];
byte sent[MOST_SENT];       /* transmissions that nothing was heard of: their numbers, the oldest first */
bool lost[MOST_SENT];
byte sent_count;
byte next;                  /* the first number that is not used */

inline count_room()
{
    room = WINDOW;
    for (i : 0 .. MOST_SENT - 1) {
        if
        :: i < sent_count && !lost[i] && room > 0 -> room--
        :: else
        fi
    }
    i = 0
}

inline transmit(s)
{
    assert(sent_count < MOST_SENT);
    sent[sent_count] = s;
    lost[sent_count] = false;
    sent_count++;
    /* what is on its way is what the device has not taken yet: it fits */
    assert(len(to_device) < WINDOW || duplicates > 0 || early > 0 || misled);
    ask_device(kinds[s], me, s, 0)
}

inline send_again(s)
{
    under_way = false;
    for (j : 0 .. MOST_SENT - 1) {
        if
        :: j < sent_count && sent[j] == s && !lost[j] && !accepted[s] -> under_way = true
        :: else
        fi
    }
    j = 0;
    if
    :: !answered[s] && !under_way -> again[s] = true
    :: else
    fi
}

inline forget_first()
{
    for (j : 1 .. MOST_SENT - 1) {
        sent[j - 1] = sent[j];
        lost[j - 1] = lost[j]
    }
    j = 0;
    sent_count--;
    sent[MOST_SENT - 1] = 0;
    lost[MOST_SENT - 1] = false
}

inline on_answer()
{
    match = MOST_SENT;
    for (i : 0 .. MOST_SENT - 1) {
        if
        :: i < sent_count && sent[i] == seq && kinds[seq] == what &&
           (match == MOST_SENT || lost[match]) -> match = i
        :: else
        fi
    }
    i = 0;
    if
    :: match == MOST_SENT
    :: match < MOST_SENT && status == ACCEPTED -> accepted[seq] = true
    :: match < MOST_SENT && status != ACCEPTED ->
        answered_before = answered[seq];
        do
        :: match > 0 ->
            s = sent[0];
            under_way = lost[0];
            forget_first();
            if
            :: !under_way && s != seq -> send_again(s)
            :: else
            fi;
            match--
        :: match == 0 -> forget_first(); break
        od;
        answered[seq] = true;
        again[seq] = false;
        s = 0;
        if
        :: !answered_before -> news()
        :: else
        fi
    fi;
    match = 0
}

/* The first answer to a request. */
inline news()
{
    if
    :: status == ORDER || status == INPUT_MISSING || status == NOT_YET ->
        assert(restarts > 0);
        failed = true
    :: status == CANCELLED -> assert(stopping && what == RUN_THROUGH && seq == first_run)
    :: what == READ && status == OK -> assert(value == me)
    :: else
    fi
}

inline on_damage()
{
    for (i : 0 .. MOST_SENT - 1) {
        if
        :: i < sent_count && !lost[i] ->
            lost[i] = true;
            s = sent[i];
            break
        :: else
        fi
    }
    i = 0;
    send_again(s);
    s = 0
}

/* Asks again: the oldest request that was not accepted, or else the oldest. */
inline on_silence()
{
    for (i : 1 .. NUMBERS - 1) {
        if
        :: i < next && !answered[i] && (s == 0 || (accepted[s] && !accepted[i])) -> s = i
        :: else
        fi
    }
    for (i : 0 .. MOST_SENT - 1) {
        if
        :: i < sent_count && (answered[sent[i]] || (sent[i] == s && !accepted[s])) -> lost[i] = true
        :: else
        fi
    }
    i = 0;
#ifndef BROKEN_SILENCE
    send_again(s);
#endif
    assert(again[s] || s == 0);
    s = 0
}

/* What came from the device, in a session. A frame of another session is as good as a damaged one. */
inline hear()
{
    if
#ifdef BROKEN_NONCE
    :: crc != PLAIN && crc != NOISE && what != PROGRESS -> heard_damage = false; on_answer()
    :: crc != PLAIN && crc != NOISE && what == PROGRESS -> heard_damage = false
#else
    :: crc == me && what != PROGRESS -> heard_damage = false; on_answer()
    :: crc == me && what == PROGRESS -> heard_damage = false
#endif
    :: crc == PLAIN && what == STARTED -> assert(restarts > 0); failed = true
    :: crc == PLAIN && what == DAMAGED -> heard_damage = false; on_damage()
    :: crc == PLAIN && what == HELLO -> heard_damage = false; on_answer()
    :: else ->
        if
        :: !heard_damage -> heard_damage = true; on_damage()
        :: else
        fi
    fi
}

inline find_state()
{
    s = 0;
    finished = true;
    for (i : 1 .. NUMBERS - 1) {
        if
        :: again[i] && s == 0 -> s = i
        :: else
        fi;
        if
        :: i < next && !answered[i] -> finished = false
        :: else
        fi
    }
    i = 0;
    count_room()
}

inline ask(k)
{
    kinds[next] = k;
    next++;
    s = next - 1;
    transmit(s);
    s = 0
}

/* Counted from the second on as on its way, until its answer comes or that of a later request. */
inline say_hello()
{
    assert(sent_count < MOST_SENT);
    sent_count++;
    ask_device(HELLO, PLAIN, 0, me)
}

/* What is of no use any more makes no states of its own. */
inline forget_message()
{
    what = 0;
    crc = 0;
    seq = 0;
    status = 0;
    value = 0;
    room = 0;
    finished = false;
    under_way = false;
    answered_before = false
}

inline forget_session()
{
    for (i : 0 .. NUMBERS - 1) {
        kinds[i] = 0;
        answered[i] = false;
        accepted[i] = false;
        again[i] = false
    }
    for (i : 0 .. MOST_SENT - 1) {
        sent[i] = 0;
        lost[i] = false
    }
    i = 0;
    kinds[0] = HELLO;
    answered[0] = true;
    sent_count = 0;
    next = 1;
    begun = false;
    failed = false;
    stopping = false;
    heard_damage = false;
    first_run = 0;
    asked = 0
}

#define SILENT (len(to_host) == 0 && len(to_device) == 0 && state == IDLE)
#define ALONE (finished && s == 0)

proctype host()
{
    mtype:kind what;
    mtype:status status;
    byte crc, seq, value;
    byte me;            /* the nonce of this session */
    byte i, j, s, match, room;
    byte asked;         /* what of the session's work has been asked for: two writes, two runs, a read */
    byte first_run;
    mtype:kind how;     /* it runs the model: whole or operator by operator */
    bool begun, failed, finished, stopping, under_way, answered_before, heard_damage;

session:
    atomic {
        forget_session();
        me++;
        if
        :: how = RUN
        :: how = RUN_THROUGH
        fi;
        say_hello()
    }
    do
    :: atomic { begun && !failed ->
        find_state();
        if
        /* what is to be sent again goes first */
        :: s != 0 && (room > 0) -> again[s] = false; transmit(s); s = 0
#ifdef BROKEN_WINDOW
        :: s == 0 && asked < 2 && next <= AHEAD -> asked++; ask(WRITE)
#else
        :: s == 0 && asked < 2 && room > 0 -> asked++; ask(WRITE)
#endif
        :: ALONE && asked == 2 && room > 0 -> asked++; first_run = next; ask(how)
        :: ALONE && asked == 3 && room > 0 -> asked++; ask(how)
        :: ALONE && asked == 4 && room > 0 -> asked++; ask(READ)
        :: ALONE && asked == 5 -> goto over
        :: s == 0 && asked == 3 && how == RUN_THROUGH && !stopping && first_run != 0 &&
           accepted[first_run] && !answered[first_run] && room > 0 -> stopping = true; ask(CANCEL)
        :: nempty(to_host) -> to_host?what,crc,seq,status,value; s = 0; hear()
        :: SILENT && s == 0 && (!finished || room == 0) -> on_silence()
        /* asked as often as the window takes while the device may be computing: it gives up in the end */
        :: SILENT && s != 0 && room == 0 -> assert(restarts > 0 || overrun || losses + early >= WINDOW); failed = true; s = 0
        :: !SILENT && s == 0 && !finished && early < most_early -> early++; on_silence()
        fi;
        forget_message() }
    :: atomic { !begun && nempty(to_host) -> to_host?what,crc,seq,status,value;
        if
#ifdef BROKEN_NONCE
        :: what == HELLO && crc == PLAIN -> begun = true; sent_count--
#else
        :: what == HELLO && crc == PLAIN && value == me -> begun = true; sent_count--
#endif
        :: what == STARTED && crc == PLAIN ->
            say_hello()
        :: else
        fi;
        forget_message() }
    :: atomic { !begun && SILENT -> say_hello() }
    :: atomic { !begun && !SILENT && early < most_early ->
        early++;
        say_hello() }
    :: failed && me < sessions -> goto session
    :: failed && me == sessions -> goto over
    /* the program on the host is started again */
    :: me < sessions -> goto session
    od;

over:
    skip
}

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
