/* SPDX-License-Identifier: Apache-2.0
 *
 * The device, as in runtime_c/src/mtvm_server.c and mtvm_tensor.c; part of link.pml.
 */

byte base, step, target, run_sequence, inputs;
byte memory;                /* which session and run computed the result that lies there */
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
    :: quiet == 0 -> tell_host((nonce != 0 -> DAMAGED : STARTED), PLAIN, 0, OK, 0)
    :: quiet != 0
    fi;
#ifdef BROKEN_STARTED
    quiet = 1
#else
    quiet = (quiet + 1) % UNHEARD
#endif
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
        memory = nonce * NUMBERS + run_sequence;
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
