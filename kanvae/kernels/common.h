/* What the kernels have in common: vectors, and what is done with them.

   Those of splines are compiled for one DEGREE and one COUNT of bases an input. */

#include <stdint.h>
#include <string.h>

#define SIDE 8 /* numbers in an octet */
#if defined(__AVX2__)
#include <immintrin.h>
#endif
#if defined(__AVX512F__)
#define LANES 16 /* numbers in a vector */
#else
#define LANES 8
#endif

#ifdef DEGREE
enum {
    LOCAL = DEGREE + 1,                         /* bases that are not zero at a point */
    INTERVALS = COUNT + DEGREE,                 /* of a grid */
    SLOTS = (INTERVALS + LANES) / LANES * LANES /* a table: the intervals, and one for what is outside */
};
#endif

#define ALIGNED __attribute__((aligned(64)))
#define INLINE static inline __attribute__((always_inline))
typedef float vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int ints __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float octet __attribute__((vector_size(4 * SIDE), aligned(4), may_alias));
typedef int places __attribute__((vector_size(4 * SIDE), aligned(4), may_alias));

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

INLINE vector load(const float *from) { return *(const vector *)from; }

INLINE void store(float *to, vector v) { *(vector *)to = v; }

/* A number in every lane. */
INLINE vector all(float number) { return number - (vector){0}; }

/* a where the mask is set, b elsewhere. */
INLINE ints choose(ints mask, ints a, ints b) { return (mask & a) | (~mask & b); }

/* `to` with the value put into the lanes where `at` is the number; until then there is nothing in them. */
INLINE ints put(ints to, ints at, int number, ints value)
{
#if defined(__AVX512F__) /* one instruction less than GCC finds */
    __mmask16 here = _mm512_cmpeq_epi32_mask((__m512i)at, _mm512_set1_epi32(number));
    return (ints)_mm512_mask_mov_epi32((__m512i)to, here, (__m512i)value);
#else
    return to | ((at == number) & value);
#endif
}

#ifdef DEGREE
/* The numbers of a table at the places that an index, from 0 to SLOTS - 1, names. */
INLINE vector pick(const float *table, ints index)
{
#if defined(__AVX512F__)
    if (SLOTS == 16)
        return (vector)_mm512_permutexvar_ps((__m512i)index, (__m512)load(table));
    if (SLOTS == 32)
        return (vector)_mm512_permutex2var_ps((__m512)load(table), (__m512i)index, (__m512)load(table + 16));
    return (vector)_mm512_i32gather_ps((__m512i)index, table, 4);
#elif defined(__AVX2__)
    if (SLOTS <= 16) { /* a gather would take longer than all of this, most of all on AMD's processors */
        __m256 low = _mm256_permutevar8x32_ps((__m256)load(table), (__m256i)index);
        if (SLOTS == 8)
            return (vector)low;
        __m256 high = _mm256_permutevar8x32_ps((__m256)load(table + 8), (__m256i)index);
        return (vector)_mm256_blendv_ps(low, high, (__m256)(index << 28)); /* by the sign: whether it is 8 or more */
    }
    return (vector)_mm256_i32gather_ps(table, (__m256i)index, 4);
#else
    vector found;
    for (int l = 0; l < LANES; l++)
        found[l] = table[index[l]];
    return found;
#endif
}
#endif

#if defined(__clang__)
#define CHOOSE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define CHOOSE(a, b, ...) __builtin_shuffle(a, b, (places){__VA_ARGS__})
#endif

/* Rows of a square become columns. */
INLINE void transpose(octet *m)
{
    octet s[SIDE], t[SIDE];
#pragma GCC unroll 4
    for (int i = 0; i < SIDE; i += 2) {
        s[i] = CHOOSE(m[i], m[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        s[i + 1] = CHOOSE(m[i], m[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
#pragma GCC unroll 2
    for (int i = 0; i < SIDE; i += 4)
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            t[i + 2 * j] = CHOOSE(s[i + j], s[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
            t[i + 2 * j + 1] = CHOOSE(s[i + j], s[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        m[i] = CHOOSE(t[i], t[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        m[i + 4] = CHOOSE(t[i], t[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
}

/* The sums of the numbers of each of eight octets. */
INLINE octet totals(const octet *m)
{
    octet twos[4], fours[2];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        octet a = m[2 * i], b = m[2 * i + 1];
        twos[i] = CHOOSE(a, b, 0, 8, 1, 9, 4, 12, 5, 13) + CHOOSE(a, b, 2, 10, 3, 11, 6, 14, 7, 15);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        octet a = twos[2 * i], b = twos[2 * i + 1];
        fours[i] = CHOOSE(a, b, 0, 1, 8, 9, 4, 5, 12, 13) + CHOOSE(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
    }
    octet a = fours[0], b = fours[1];
    return CHOOSE(a, b, 0, 1, 2, 3, 8, 9, 10, 11) + CHOOSE(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
}

/* The sums of the numbers of each of eight vectors. */
INLINE octet all_totals(const vector *from)
{
#if LANES > SIDE
    octet m[SIDE];
#pragma GCC unroll 8
    for (int i = 0; i < SIDE; i++) {
        octet half[2];
        memcpy(half, &from[i], sizeof half);
        m[i] = half[0] + half[1];
    }
    return totals(m);
#else
    return totals(from);
#endif
}

/* Numbers of which there are LANES but at an edge; zeros in place of the others. */
INLINE vector some(const float *from, long size)
{
    vector found = {0};
    if (size >= LANES)
        return load(from);
    memcpy(&found, from, size * sizeof(float));
    return found;
}

INLINE void store_some(float *to, vector v, long size)
{
    if (size >= LANES)
        store(to, v);
    else
        memcpy(to, &v, size * sizeof(float));
}

/* exp(y) for y from -87 to 88 = 2^w exp(r), w whole, |r| <= ln(2) / 2. From 89 on 2^w is infinite, and so is this. */
INLINE vector exponential(vector y)
{
    const float round = 12582912; /* 1.5 * 2^23: what is added to it loses its fraction */
    vector w = (y * 1.44269504f + round) - round;
    vector r = y - w * 0.693359375f + w * 2.12194440e-4f; /* ln 2, in two parts that lose nothing */
    vector p = 1.0f / 24 + r * (1.0f / 120 + r * (1.0f / 720));
    p = 1 + r * (1 + r * (1.0f / 2 + r * (1.0f / 6 + r * p)));
    ints bits = (__builtin_convertvector(w, ints) + 127) << 23;
    return p * (vector)bits;
}

/* 1 / (1 + exp(-x)): 0 where exp(-x) is beyond all floats; where it is nothing beside 1, -x is bounded. */
INLINE vector sigmoid(vector x)
{
    vector low = all(-87), high = all(89), y = -x;
    y = (vector)choose(y < low, (ints)low, choose(y > high, (ints)high, (ints)y));
    return 1 / (1 + exponential(y));
}
