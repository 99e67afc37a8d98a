/* SPDX-License-Identifier: Apache-2.0
 *
 * The model ABI: what generated code gives to whoever runs it. Nothing here needs the rest of the runtime:
 * an application that only calls a model includes this header through `<model>.h` and links `<model>.c`.
 *
 * A model is a constant table. It owns no memory but flash: the caller gives one arena.
 */
#ifndef MTVM_MODEL_H
#define MTVM_MODEL_H

#include <stddef.h>
#include <stdint.h>

/* Raised whenever the structures below change. Generated code carries the number that it was made for and
 * stops the compiler when the header is another one; the server compares it again when it starts. */
#define MTVM_MODEL_ABI 1

/* What marks the constant arrays of a model, so that a linker script can place them; empty to leave them be. On AVR
 * they are in the first 64 KB of flash, where the linker's own script puts sections of such a name. */
#ifndef MTVM_WEIGHTS
#ifdef __AVR__
#define MTVM_WEIGHTS __attribute__((section(".progmem.data.mtvm_weights")))
#else
#define MTVM_WEIGHTS __attribute__((section(".rodata.mtvm_weights"), aligned(4)))
#endif
#endif

/* How models for cores whose loads do not reach flash read an element of such an array. What is there never changes, so
 * that the compiler may read it once where avr-libc's macros would read it again. */
#ifdef __AVR__
static inline uint8_t mtvm_flash8(const void *p)
{
    uint8_t value;
    __asm__("lpm %0, Z" : "=r"(value) : "z"(p));
    return value;
}

static inline uint16_t mtvm_flash16(const void *p)
{
    uint16_t value;
    __asm__("lpm %A0, Z+\n\tlpm %B0, Z" : "=&r"(value), "+z"(p));
    return value;
}

static inline uint32_t mtvm_flash32(const void *p)
{
    uint32_t value;
    __asm__("lpm %A0, Z+\n\tlpm %B0, Z+\n\tlpm %C0, Z+\n\tlpm %D0, Z" : "=&r"(value), "+z"(p));
    return value;
}

static inline float mtvm_flash_float(const void *p)
{
    union {
        uint32_t bits;
        float value;
    } both;
    both.bits = mtvm_flash32(p);
    return both.value;
}

static inline void mtvm_flash_copy(void *to, const void *from, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++)
        ((uint8_t *)to)[i] = mtvm_flash8((const uint8_t *)from + i);
}

#define MTVM_READ_INT8(p) ((int8_t)mtvm_flash8(p))
#define MTVM_READ_UINT8(p) mtvm_flash8(p)
#define MTVM_READ_INT16(p) ((int16_t)mtvm_flash16(p))
#define MTVM_READ_UINT16(p) mtvm_flash16(p)
#define MTVM_READ_INT32(p) ((int32_t)mtvm_flash32(p))
#define MTVM_READ_UINT32(p) mtvm_flash32(p)
#define MTVM_READ_INT64(p) ((int64_t)(mtvm_flash32(p) | (uint64_t)mtvm_flash32((const uint8_t *)(p) + 4) << 32))
#define MTVM_READ_FLOAT(p) mtvm_flash_float(p)
#define MTVM_COPY_FLASH(to, from, n) mtvm_flash_copy(to, from, (size_t)(n))
#else
#define MTVM_READ_INT8(p) (*(p))
#define MTVM_READ_UINT8(p) (*(p))
#define MTVM_READ_INT16(p) (*(p))
#define MTVM_READ_UINT16(p) (*(p))
#define MTVM_READ_INT32(p) (*(p))
#define MTVM_READ_UINT32(p) (*(p))
#define MTVM_READ_INT64(p) (*(p))
#define MTVM_READ_FLOAT(p) (*(p))
#define MTVM_COPY_FLASH(to, from, n) memcpy(to, from, (size_t)(n))
#endif

/* In front of a function with one caller, which it becomes part of. */
#define MTVM_INLINE static inline __attribute__((always_inline))

/* In front of a function that is really to be called. GCC 12 takes some whose stores it has rewritten to be free of
 * effects, and drops the calls: only a function that nothing is deduced from is safe. */
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 8
#define MTVM_CALLED static __attribute__((noipa))
#elif defined(__GNUC__) && !defined(__clang__)
#define MTVM_CALLED static __attribute__((noinline, noclone))
#else
#define MTVM_CALLED static __attribute__((noinline))
#endif

/* In front of an arena's definition. */
#ifndef MTVM_ALIGN
#define MTVM_ALIGN(bytes) __attribute__((aligned(bytes)))
#endif

/* A register tile takes every register that the core has. GCC gives them where it optimises at all;
 * other compilers get the tile in C. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__OPTIMIZE__)
#if defined(__ARM_FEATURE_DSP)
#define MTVM_TILE_ASSEMBLY
#endif
#if defined(__ARM_ARCH_ISA_THUMB) && __ARM_ARCH_ISA_THUMB == 1
#define MTVM_TILE_THUMB1
#elif defined(__ARM_ARCH_ISA_THUMB)
#define MTVM_TILE_THUMB2
#endif
#if defined(MTVM_TILE_THUMB2) && defined(__ARM_FP) && (__ARM_FP & 4)
#define MTVM_TILE_FPU
#endif
#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 2)
#define MTVM_TILE_MVE_FLOAT
#endif
#if defined(__riscv_mul) && __riscv_xlen == 32 && !defined(__riscv_32e)
#define MTVM_TILE_RV32M
#endif
#endif
#define MTVM_TILE static inline __attribute__((always_inline))

/* In front of a tile that is to be called: registers are saved once, at its ends. */
#if defined(MTVM_TILE_THUMB1) || defined(MTVM_TILE_THUMB2) || defined(MTVM_TILE_RV32M)
#pragma GCC optimize("omit-frame-pointer")
#if defined(MTVM_TILE_THUMB1) || defined(MTVM_TILE_RV32M)
/* Scheduled before registers are given out, loads go so far ahead that what they load is spilled. */
#pragma GCC optimize("no-schedule-insns")
#endif
#define MTVM_TILE_CALLED __attribute__((noipa, optimize("O2"))) static
#else
#define MTVM_TILE_CALLED __attribute__((noinline)) static
#endif

/* Helium's vectors of integers, in assembly that takes all registers. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__OPTIMIZE__) && defined(__ARM_FEATURE_MVE)
#define MTVM_HELIUM
#define MTVM_HELIUM_TILE static __attribute__((noipa, optimize("O2", "omit-frame-pointer")))
#endif

/* Where a tile keeps the end of its loop: in a floating point register, or on the stack where there is none. */
#ifdef __ARM_FP
#define MTVM_TILE_MOVE "vmov"
#define MTVM_TILE_LIMIT "t"
#else
#define MTVM_TILE_MOVE "ldr"
#define MTVM_TILE_LIMIT "m"
#endif

/* Element types, by the number that goes over the wire. */
enum mtvm_dtype {
    MTVM_INT8 = 1,
    MTVM_UINT8 = 2,
    MTVM_INT16 = 3,
    MTVM_INT32 = 4,
    MTVM_INT64 = 5,
    MTVM_FLOAT32 = 6,
    MTVM_BOOL = 7
};

/* A tensor that exists in the arena at some time. real = scale * (q - zero_point); scale 0 means not quantised. */
struct mtvm_tensor {
    const char *name;     /* NUL-terminated, unique in the model, at most 63 characters of [A-Za-z0-9_] */
    const uint16_t *shape; /* `rank` dimensions, outermost first */
    uint32_t offset;      /* byte offset in the arena */
    uint32_t size;        /* bytes */
    float scale;
    int16_t zero_point;
    uint16_t live_from;   /* the tensor holds its value after k operators have run if live_from <= k <= live_to; */
    uint16_t live_to;     /* inputs have live_from 0 */
    uint8_t dtype;        /* enum mtvm_dtype */
    uint8_t rank;         /* 0 to 5 */
};

/* One operator (a group of fused nodes): it reads and writes the arena and nothing else. */
struct mtvm_op {
    const char *name; /* unique in the model, of the same form as a tensor's */
    void (*run)(uint8_t *arena);
};

struct mtvm_model {
    uint16_t abi;                      /* MTVM_MODEL_ABI of the generator */
    uint16_t n_tensors;                /* inputs first, then outputs that are not inputs, then the rest */
    uint16_t n_inputs;
    uint16_t n_outputs;
    uint16_t n_ops;
    uint16_t arena_align;              /* the arena's first byte is a multiple of this power of two */
    uint32_t arena_bytes;              /* tensors and scratch; the caller gives at least as many */
    const char *name;
    const uint8_t *hash;               /* 16 bytes: the head of the SHA-256 of everything that was compiled */
    const struct mtvm_tensor *tensors;
    const uint16_t *inputs;            /* indices into `tensors`, in the model's order */
    const uint16_t *outputs;
    const struct mtvm_op *ops;
    void (*run)(uint8_t *arena);       /* one inference: all operators in order, no hooks */
};

#endif
