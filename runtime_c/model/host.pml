/* SPDX-License-Identifier: Apache-2.0
 *
 * The host, as in microtvm/device/window.py and client.py; part of link.pml.
 */

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
    assert(len(to_device) < WINDOW || duplicates > 0 || early > 0);
    ask_device(kinds[s], me, s, 0)
}

inline send_again(s)
{
    under_way = false;
    for (j : 0 .. MOST_SENT - 1) {
        if
        :: j < sent_count && sent[j] == s && !lost[j] -> under_way = true
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
    answered_before = answered[seq];
    if
    :: accepted[seq] && !answered[seq] && kinds[seq] == what && status != ACCEPTED ->
        /* the result comes by itself: it is no transmission's answer */
        settle()
    :: else ->
        if
        :: match == MOST_SENT
        :: match < MOST_SENT ->
            reported = false;
            do
            :: match > 0 -> forget_first(); match--
            :: match == 0 -> forget_first(); break
            od;
            if
            :: status == ACCEPTED && !answered[seq] -> accepted[seq] = true
            :: status == ACCEPTED && answered[seq]
            :: status != ACCEPTED -> settle()
            fi;
            for (i : 1 .. NUMBERS - 1) {
                if
                :: i < next && !accepted[i] -> send_again(i)
                :: else
                fi
            }
            i = 0
        fi
    fi;
    match = 0
}

inline settle()
{
    answered[seq] = true;
    again[seq] = false;
    if
    :: !answered_before -> news()
    :: else
    fi
}

/* The first answer to a request. */
inline news()
{
    if
    :: status == ORDER || status == INPUT_MISSING || status == NOT_YET ->
        assert(restarts > 0);
        failed = true
    :: status == CANCELLED -> assert(stopping && what == RUN_THROUGH && seq == first_run)
    :: what == READ && status == OK -> assert(value == me * NUMBERS + last_run)
    :: else
    fi
}

/* The device says that something arrived damaged: what it says twice in a row may be about the same frame. */
inline on_damage()
{
    match = MOST_SENT;
    for (i : 0 .. MOST_SENT - 1) {
        if
        :: i < sent_count && !lost[i] && match == MOST_SENT -> match = i
        :: else
        fi
    }
    i = 0;
    if
    :: match < MOST_SENT && !reported ->
        reported = true;
        lost[match] = true;
        s = sent[match];
        send_again(s);
        s = 0
    :: else -> on_noise()
    fi;
    match = 0
}

/* Something arrived damaged, an answer or what the device said unasked: the request with the fewest transmissions
 * under way is sent again, and takes no room from the others. */
inline on_noise()
{
    match = MOST_SENT;
    for (i : 1 .. NUMBERS - 1) {
        if
        :: i < next && !answered[i] ->
            room = 0;
            for (j : 0 .. MOST_SENT - 1) {
                if
                :: j < sent_count && sent[j] == i && !lost[j] -> room++
                :: else
                fi
            }
            j = 0;
            if
            :: room < match -> match = room; s = i
            :: else
            fi
        :: else
        fi
    }
    i = 0;
    room = 0;
#ifdef BROKEN_NOISE
    for (j : 0 .. MOST_SENT - 1) {
        if
        :: sent[j] == s -> lost[j] = true
        :: else
        fi
    }
    j = 0;
#endif
    again[s] = s != 0;
    s = 0
}

/* Asks again: the oldest request that was not accepted, or else the oldest. What a device that computes has not
 * taken yet is on its way. */
inline on_silence()
{
    under_way = false;
    for (i : 1 .. NUMBERS - 1) {
        if
        :: i < next && !answered[i] ->
            under_way = under_way || accepted[i];
            if
            :: s == 0 || (accepted[s] && !accepted[i]) -> s = i
            :: else
            fi
        :: else
        fi
    }
    for (i : 0 .. MOST_SENT - 1) {
        if
        :: i < sent_count && !under_way -> lost[i] = true
        :: else
        fi
    }
    i = 0;
#ifndef BROKEN_SILENCE
    again[s] = s != 0;
#endif
    assert(again[s] || s == 0);
    s = 0
}

/* What came from the device, in a session. A frame of another session is as good as a damaged one. */
inline hear()
{
    if
#ifdef BROKEN_NONCE
    :: crc != PLAIN && crc != NOISE && what != PROGRESS -> on_answer()
    :: crc != PLAIN && crc != NOISE && what == PROGRESS
#else
    :: crc == me && what != PROGRESS -> on_answer()
    :: crc == me && what == PROGRESS && kinds[seq] == RUN_THROUGH && !answered[seq] -> accepted[seq] = true
    :: crc == me && what == PROGRESS && (kinds[seq] != RUN_THROUGH || answered[seq])
#endif
    :: crc == PLAIN && what == STARTED -> assert(restarts > 0); failed = true
    :: crc == PLAIN && what == DAMAGED -> on_damage()
    :: crc == PLAIN && what == HELLO -> on_answer()
    :: else -> on_noise()
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
    reported = false;
    first_run = 0;
    last_run = 0;
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
    byte first_run, last_run;
    mtype:kind how;     /* it runs the model: whole or operator by operator */
    bool begun, failed, finished, stopping, under_way, answered_before, reported;

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
        :: ALONE && asked == 3 && room > 0 -> asked++; last_run = next; ask(how)
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
