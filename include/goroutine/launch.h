// SPDX-License-Identifier: MIT
/*
 * The go statement.
 *
 *	go(fn, args...);                 go_go(fn, args...)
 *	go_with(options, fn, args...);   a go_options value: a variable, a call, or a literal in parentheses
 *	go_scope_go(scope, fn, args...);
 *
 * starts fn(args...) as a goroutine. The arguments are evaluated here, once, and converted to the types of fn's
 * parameters as in the call fn(args...): up to 32 of them, of any type up to 16-byte alignment, variadic callees
 * included. fn is evaluated once and may be any expression of function or pointer-to-function type. Its result is
 * discarded; a structure result is refused. Fatal: a NULL fn, a scope that was closed, out of memory. Never parks;
 * from any thread.
 *
 * "How a go statement is compiled"
 *
 * The statement is one real call. The address of go_newproc is cast to fn's own type and called with the arguments,
 * so it is the compiler that checks, converts and puts each argument where the ABI wants it. What else the
 * runtime must know goes through the static chain register, which no argument uses: a struct go_launch. The callee
 * stores the argument registers and the stack words; the goroutine's first run loads them again and jumps to fn.
 *
 * go_newproc is declared as bytes, not as a function, because GCC replaces a call through a visibly wrong type by a
 * trap. It stands in the program itself, hidden and weak, because the lazy binding of a PLT would not keep the static
 * chain.
 *
 * The whole is an expression without a block around the arguments: a compound literal among them lives as long as the
 * block that encloses the go statement, as it would in a call. So does the struct go_launch, a compound literal itself;
 * only the constant creation site is declared in a statement expression.
 *
 * The callee cannot see how many bytes of arguments lie on the stack, C cannot ask a function type for its parameters,
 * and the preprocessor cannot take the arguments one by one, for it splits (struct point){ 1, 2 } at the comma.
 * But arguments are always the lowest thing in the caller's frame: they end where its variables begin.
 *
 * With GCC that place has a name, alloca(0): it is the end of the area for arguments, whether the compiler pushes them or has
 * reserved the area once and for all, and costs no more than keeping a frame pointer. But no earlier call's arguments may
 * still be waiting to be popped: GCC would use their room for the new ones. It pops all at the end of a basic block, and an
 * empty asm goto ends one.
 *
 * Clang has no such name. Where a frame has variable-length arrays it pushes, and the arguments end where the
 * stack pointer was at the statement. Otherwise it has reserved the area, the stack pointer does not move, and the end is
 * unknown; but the struct go_launch is a variable of that frame, so what is between the stack pointer and it
 * holds all the arguments, mostly little else, and is safe to read. Where sanitizers move variables off the stack the
 * frame's own address takes its place. And overload resolution (Clang has it in C) tells whether all arguments are scalars,
 * which bounds them: 32 bytes each, a _Complex long double.
 *
 * The number of pieces between the commas bounds the registers.
 *
 * On x86-64 a long double is returned on the x87 stack, and the caller pops it. So the call that the compiler sees must leave one
 * there, and the goroutine's bottom frame must pop the real one.
 *
 * Limits
 * - A function that is declared not to return, by the keyword _Noreturn, can be launched by its name: go(f, …). If it is launched
 *   through a pointer (&f, c ? f : g), or with Clang has the attribute noreturn instead, as exit has, the compiler drops the
 *   code after the statement: launch a function that calls it.
 * - Vectors of more than 16 bytes (__m256 and the like), and structures of nothing but such a vector, must be passed by pointer. As
 *   results they are refused, and so is everything else that is returned in memory.
 * - A function or pointer expression with side effects must not be of a variably modified type, such as int (*(*)(int))[n].
 * - The floating-point control state of a goroutine begins as the ABI says: what -ffast-math's start-up code sets for a program's first
 *   thread (denormals are zero) is not in force there. Not with -masm=intel.
 * - _BitInt of more than 128 bits must be passed by pointer; nothing notices it.
 * - Functions of another calling convention (ms_abi and the like), and with Clang those that return an _Atomic(long double), cannot
 *   be launched; nothing notices it. Clang's -fsanitize=cfi takes the cast for an attack, and
 *   its -fsanitize=safe-stack is refused.
 * - GCC warns if the function's result must not be ignored (warn_unused_result), as it warns about a call cast to void.
 * - On AArch64, structures of more than 16 bytes, and _Complex __int128, must be passed by pointer, too: the ABI would pass
 *   a pointer into the caller's frame. This is checked for each argument, so there a literal with several fields needs
 *   parentheses.
 */
#pragma once

#include <stddef.h>

#ifdef __cplusplus
#error "the go statement needs C: C++ has no __builtin_call_with_static_chain"
#endif

typedef struct go_scope go_scope;

/* How a goroutine is to be started. Zero means the default in every field. */
typedef struct go_options {
	const char *name;  /* shown in tracebacks; the pointer is kept, so let it live as long as the goroutine */
	size_t stack_size; /* usable bytes, rounded up (below 16 KiB the library takes 56 of them); 0: the default */
	go_scope *scope;   /* the scope it will be inside of; NULL: the launcher's */
} go_options;

/* Where a go statement stands and what its arguments may need. One constant per statement. */
struct go_site {
	const char *file;
	const char *function;
	unsigned line;
	unsigned stack_bytes;       /* upper bound on the bytes of stack arguments; UINT_MAX: go_launch.limit alone tells */
	unsigned char integer_regs; /* upper bound on the integer argument registers in use: x86-64 0 to 6, AArch64 0 to 8 */
	unsigned char limit;        /* enum go_limit */
	unsigned char x87_results;  /* registers of the x87 stack that hold the result, 0 to 2; if not 0, integer_regs is above 2 */
};

/* What go_launch.limit is. */
enum go_limit {
	GO_LIMIT_END,    /* where the stack arguments end */
	GO_LIMIT_LAUNCH, /* that, if it is above the stack pointer; else they end below the struct go_launch */
	GO_LIMIT_FRAME   /* that, if it is above the stack pointer; else they end below go_launch.frame */
};

/* What go_newproc receives in the static chain register. Valid during the call only. */
struct go_launch {
	void (*fn)(void);
	const struct go_site *site;
	const go_options *options; /* NULL: none given */
	go_scope *scope;           /* of go_scope_go; else NULL */
	const void *limit;         /* see go_site.limit */
	const void *frame;         /* see go_site.limit */
};

#define go_go(...) GO_LAUNCH_(((void *)0), ((void *)0), __VA_ARGS__)
#define go_with(options, ...) GO_LAUNCH_((&(go_options[1]){ options }[0]), ((void *)0), __VA_ARGS__)
#define go_scope_go(scope, ...) GO_LAUNCH_(((void *)0), (scope), __VA_ARGS__)

#ifndef GO_NO_SHORT_NAMES
#define go(...) go_go(__VA_ARGS__)
#endif

/* Everything below serves the macros above and is not for use. */

/*
 * The veneer, 16 bytes in each object file; the linker takes one. Not in a comdat group: file-level assembly cannot tell a
 * linker plugin of Clang's that it is in one, and the linker would take the symbol of one file and the group of another.
 * .ifndef, because link-time optimisation puts the file-level assembly of all files into one. Clang 21
 * and later pass the static chain of AArch64 in x15, all others in x18; a program may mix both, so there are two names.
 */
#if defined(__x86_64__) && !defined(__ILP32__)
#define GO_NEWPROC_ "go_newproc"
#ifdef __CET__
#define GO_VENEER_ "endbr64\n\tjmp *go_newproc_capture@GOTPCREL(%rip)"
#else
#define GO_VENEER_ "jmp *go_newproc_capture@GOTPCREL(%rip)"
#endif
#define GO_FUNCTION_ "@function"
#define GO_PROGBITS_ "@progbits"
#elif defined(__aarch64__) && !defined(__ILP32__)
#if defined(__clang__) && __clang_major__ >= 21
#define GO_NEWPROC_ "go_newproc_x15"
#define GO_CHAIN_ "mov x18, x15\n\t"
#else
#define GO_NEWPROC_ "go_newproc"
#define GO_CHAIN_ ""
#endif
#define GO_VENEER_ \
	"hint 34\n\t" GO_CHAIN_ "adrp x16, :got:go_newproc_capture\n\t" \
	"ldr x16, [x16, :got_lo12:go_newproc_capture]\n\tbr x16"
#define GO_FUNCTION_ "%function"
#define GO_PROGBITS_ "%progbits"
#else
#error "goroutine.h: this processor is not supported"
#endif

__asm__(".ifndef " GO_NEWPROC_ "\n\t"
        ".pushsection .text." GO_NEWPROC_ ", \"ax\", " GO_PROGBITS_ "\n\t"
        ".weak " GO_NEWPROC_ "\n\t"
        ".hidden " GO_NEWPROC_ "\n\t"
        ".type " GO_NEWPROC_ ", " GO_FUNCTION_ "\n\t"
        ".balign 16\n"
        GO_NEWPROC_ ":\n\t"
        ".cfi_startproc\n\t"
        GO_VENEER_ "\n\t"
        ".cfi_endproc\n\t"
        ".size " GO_NEWPROC_ ", . - " GO_NEWPROC_ "\n\t"
        ".popsection\n\t"
        ".endif");

extern const char go_newproc[] __asm__(GO_NEWPROC_) __attribute__((visibility("hidden")));

/*
 * The struct go_launch is not a const literal: that could be put into read-only memory, but its place in the frame matters.
 */
#define GO_LAUNCH_(options, scope, ...) \
	GO_LAUNCH_N_(GO_COUNT_(__VA_ARGS__), options, scope, GO_FIRST_(__VA_ARGS__, ~), __VA_ARGS__)
#define GO_LAUNCH_N_(n, ...) GO_LAUNCH_M_(n, __VA_ARGS__)
#define GO_LAUNCH_M_(n, options, scope, fn, ...) \
	((void)__builtin_call_with_static_chain( \
		((GO_POINTER_TYPE_(fn))(__UINTPTR_TYPE__)go_newproc)GO_LIST_(n, __VA_ARGS__), \
		go_launch_(&(struct go_launch){ (void (*)(void))(__UINTPTR_TYPE__)(fn), \
			GO_SITE_(n, fn, GO_LIST_(n, __VA_ARGS__), __VA_ARGS__), options, scope, GO_LIMIT_ })))
#define GO_FIRST_(fn, ...) fn

/* A call around the compound literal, because GCC 12 cannot take a statement expression as the static chain. */
extern inline __attribute__((__gnu_inline__, __always_inline__, __no_instrument_function__))
const struct go_launch *go_launch_(const struct go_launch *launch)
{
	return launch;
}

/*
 * The type "pointer to fn's type". Not simply __typeof__(*(fn)) *: GCC keeps "does not return" in
 * the type of a function's address, but not in that of its designator; to take it over would end the caller's code at the statement.
 */
#define GO_POINTER_TYPE_(fn) \
	__typeof__(__builtin_choose_expr(__extension__ __builtin_types_compatible_p(__typeof__(fn), __typeof__(*(fn))), \
		(__typeof__(fn) *)0, *(__typeof__(fn) *)0))

#ifdef __has_feature
#define GO_HAS_FEATURE_(x) __has_feature(x)
#else
#define GO_HAS_FEATURE_(x) 0
#endif
#ifdef __x86_64__
#define GO_READ_SP_ "mov %%rsp, %0"
#else
#define GO_READ_SP_ "mov %0, sp"
#endif

/* GCC ends a basic block here, and pops what earlier calls have left. */
#ifdef __clang__
#define GO_SETTLE_LABEL_
#define GO_SETTLE_
#else
#define GO_SETTLE_LABEL_ __label__ go_settled_;
#define GO_SETTLE_ __asm__ goto("" : : : : go_settled_); go_settled_:
#endif
#define GO_SP_ \
	__extension__({ \
		GO_SETTLE_LABEL_ \
		void *go_sp_; \
		GO_SETTLE_ \
		__asm__ volatile(GO_READ_SP_ : "=r"(go_sp_)); \
		go_sp_; \
	})

#if GO_HAS_FEATURE_(safe_stack)
#error "-fsanitize=safe-stack keeps arrays on a second stack for each thread, which goroutines cannot share"
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_HWADDRESS__) || GO_HAS_FEATURE_(address_sanitizer) || \
	GO_HAS_FEATURE_(hwaddress_sanitizer)
/* Here alloca(0) would take memory each time, and the struct go_launch need not lie in the frame. */
#define GO_LIMIT_KIND_ GO_LIMIT_FRAME
#define GO_LIMIT_ GO_SP_, __builtin_frame_address(0)
#elif defined(__clang__)
#define GO_LIMIT_KIND_ GO_LIMIT_LAUNCH
#define GO_LIMIT_ GO_SP_, (void *)0
#else
#define GO_LIMIT_KIND_ GO_LIMIT_END
#define GO_LIMIT_ \
	__extension__({ \
		GO_SETTLE_LABEL_ \
		void *go_end_; \
		_Pragma("GCC diagnostic push") \
		_Pragma("GCC diagnostic ignored \"-Walloca\"") \
		_Pragma("GCC diagnostic ignored \"-Walloc-zero\"") \
		GO_SETTLE_ \
		go_end_ = __builtin_alloca(0); \
		_Pragma("GCC diagnostic pop") \
		go_end_; \
	}), (void *)0
#endif

/* Without this Clang would warn that the second, unevaluated mention of the arguments has side effects, and GCC of widened floats. */
#ifdef __clang__
#define GO_QUIET_BEGIN_ \
	_Pragma("clang diagnostic push") _Pragma("clang diagnostic ignored \"-Wunevaluated-expression\"") \
	_Pragma("clang diagnostic ignored \"-Wsizeof-array-decay\"") \
	_Pragma("clang diagnostic ignored \"-Wbool-conversion\"") \
	_Pragma("clang diagnostic ignored \"-Wconversion\"") _Pragma("clang diagnostic ignored \"-Wvarargs\"") \
	_Pragma("clang diagnostic ignored \"-Wnonnull\"") _Pragma("clang diagnostic ignored \"-Wclass-varargs\"")
#define GO_QUIET_END_ _Pragma("clang diagnostic pop")
#else
#define GO_QUIET_BEGIN_ \
	_Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wdouble-promotion\"")
#define GO_QUIET_END_ _Pragma("GCC diagnostic pop")
#endif

#define GO_IS_(type, other) __builtin_types_compatible_p(type, other)
#ifndef __x86_64__
#define GO_X87_RESULTS_(type) 0
#elif defined(__clang__)
#define GO_X87_RESULTS_(type) \
	(__LDBL_MANT_DIG__ != 64 ? 0 : GO_IS_(type, long double) ? 1 : GO_IS_(type, _Complex long double) ? 2 : 0)
#else
#define GO_X87_RESULTS_(type) \
	(GO_IS_(type, __float80) || GO_IS_(type, _Float64x) || (GO_IS_(type, long double) && __LDBL_MANT_DIG__ == 64) ? 1 \
		: GO_IS_(type, _Complex _Float64x) || (GO_IS_(type, _Complex long double) && __LDBL_MANT_DIG__ == 64)     ? 2 \
															     : 0)
#endif
/* A result of more than 16 bytes is returned in memory, except for complex numbers in two registers. */
#ifdef __x86_64__
#define GO_TWO_REGISTERS_(type) (GO_X87_RESULTS_(type) == 2)
#elif defined(__clang__)
#define GO_TWO_REGISTERS_(type) GO_IS_(type, _Complex long double)
#else
#define GO_TWO_REGISTERS_(type) \
	(GO_IS_(type, _Complex long double) || GO_IS_(type, _Complex _Float128) || GO_IS_(type, _Complex _Float64x))
#endif

#define GO_SITE_(n, fn, list, ...) \
	__extension__({ \
		GO_QUIET_BEGIN_ \
		typedef __typeof__((fn)list) go_result_; \
		typedef __typeof__(*__builtin_choose_expr( \
			__builtin_types_compatible_p(go_result_, void), (int *)0, (go_result_ *)0)) go_value_; \
		_Static_assert(__builtin_classify_type(*(go_value_ *)0) < 12 || __builtin_classify_type(*(go_value_ *)0) > 16, \
			"go: the function returns a structure or union by value; its result would have no place"); \
		_Static_assert(sizeof(go_value_) <= 16 || GO_TWO_REGISTERS_(go_value_), \
			"go: the function returns its value in memory; its result would have no place"); \
		static const struct go_site go_site_ = \
			{ __FILE__, __func__, __LINE__, GO_DEMAND_(n, list, __VA_ARGS__), GO_LIMIT_KIND_, GO_X87_RESULTS_(go_value_) }; \
		GO_QUIET_END_ \
		&go_site_; \
	})

#ifdef __x86_64__
/* An argument takes two registers at most (__int128, _Complex double, a structure of 16 bytes). */
#define GO_DEMAND_(n, list, ...) \
	(n) ? GO_STACK_BYTES_(n, list) : 0, (n) < 3 && GO_X87_RESULTS_(go_value_) == 0 ? 2 * (n) : 6
#ifdef __clang__
/* A scalar converts to _Bool, which overload resolution prefers to the ellipsis. */
short go_scalars_(...) __attribute__((__overloadable__));
char go_scalars_(_Bool) __attribute__((__overloadable__));
char go_scalars_(_Bool, _Bool) __attribute__((__overloadable__));
char go_scalars_(_Bool, _Bool, _Bool) __attribute__((__overloadable__));
char go_scalars_(_Bool, _Bool, _Bool, _Bool) __attribute__((__overloadable__));
char go_scalars_(_Bool, _Bool, _Bool, _Bool, _Bool) __attribute__((__overloadable__));
char go_scalars_(_Bool, _Bool, _Bool, _Bool, _Bool, _Bool) __attribute__((__overloadable__));
#define GO_STACK_BYTES_(n, list) (sizeof(go_scalars_ list) == 1 ? 32 * (n) : __UINT32_MAX__)
#else
#define GO_STACK_BYTES_(n, list) __UINT32_MAX__
#endif
#else
/*
 * AArch64: the demands of the arguments one by one, for the check. Integer registers, vector registers and bytes on the
 * stack if either runs out are packed so that they can be added. A scalar is at worst an __int128, which may
 * skip a register, or a _Complex long double; a structure four floats. Vectors of less than eight bytes may be on the stack in
 * any case. Stack sizes rounded up to 16 cover the padding. The comma makes arrays and functions decay, and bit-fields plain.
 */
#define GO_DEMAND_(n, list, ...) GO_DEMAND_SUM_(GO_SUM_##n##_(__VA_ARGS__, ~))
#define GO_DEMAND_SUM_(d) \
	((d) & 0xffff) > 8 || ((d) >> 16 & 0xffff) > 8 ? (unsigned)((d) >> 32) : 0, \
	((d) & 0xffff) > 8 ? 8 : (unsigned char)((d) & 0xffff)
#define GO_PACK_(integers, vectors, bytes) ((bytes) << 32 | (vectors) << 16 | (integers))
#define GO_SIZE_(a) sizeof((void)0, (a))
/* An argument of more than 16 bytes is passed as a pointer into the caller's frame, except for complex floating-point numbers. */
#ifdef __clang__
#define GO_FITS_(a) (GO_SIZE_(a) <= 16 || GO_IS_(__typeof__((void)0, (a)), _Complex long double))
#else
#define GO_FITS_(a) \
	(GO_SIZE_(a) <= 16 || (__builtin_classify_type(a) == 9 && !GO_IS_(__typeof__((void)0, (a)), _Complex __int128) && \
				  !GO_IS_(__typeof__((void)0, (a)), _Complex unsigned __int128)))
#endif
#define GO_IS_VECTOR_(a) (__builtin_classify_type(a) < 0 || __builtin_classify_type(a) > 17)
#define GO_ARGUMENT_(a) \
	(sizeof(struct { \
		_Static_assert(GO_FITS_(a), \
			"go: on AArch64 an argument of more than 16 bytes must be passed by pointer"); \
		_Static_assert(__builtin_classify_type(a) < 12 || __alignof__((void)0, (a)) <= 16, \
			"go: an argument aligned to more than 16 bytes must be passed by pointer"); \
		char c; \
	}) * (GO_IS_VECTOR_(a) && GO_SIZE_(a) < 8 ? GO_PACK_(9ul, 9ul, 16ul) \
		: __builtin_classify_type(a) == 5  ? GO_PACK_(1ul, 0ul, 16ul) \
		: __builtin_classify_type(a) < 10  ? GO_PACK_(3ul, 2ul, 32ul) \
						   : GO_PACK_(3ul, 4ul, 16ul)))
#define GO_SUM_0_(fn, ...) 0ul
#define GO_SUM_1_(fn, a, ...) GO_ARGUMENT_(a)
#define GO_SUM_2_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_1_(fn, __VA_ARGS__)
#define GO_SUM_3_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_2_(fn, __VA_ARGS__)
#define GO_SUM_4_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_3_(fn, __VA_ARGS__)
#define GO_SUM_5_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_4_(fn, __VA_ARGS__)
#define GO_SUM_6_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_5_(fn, __VA_ARGS__)
#define GO_SUM_7_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_6_(fn, __VA_ARGS__)
#define GO_SUM_8_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_7_(fn, __VA_ARGS__)
#define GO_SUM_9_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_8_(fn, __VA_ARGS__)
#define GO_SUM_10_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_9_(fn, __VA_ARGS__)
#define GO_SUM_11_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_10_(fn, __VA_ARGS__)
#define GO_SUM_12_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_11_(fn, __VA_ARGS__)
#define GO_SUM_13_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_12_(fn, __VA_ARGS__)
#define GO_SUM_14_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_13_(fn, __VA_ARGS__)
#define GO_SUM_15_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_14_(fn, __VA_ARGS__)
#define GO_SUM_16_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_15_(fn, __VA_ARGS__)
#define GO_SUM_17_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_16_(fn, __VA_ARGS__)
#define GO_SUM_18_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_17_(fn, __VA_ARGS__)
#define GO_SUM_19_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_18_(fn, __VA_ARGS__)
#define GO_SUM_20_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_19_(fn, __VA_ARGS__)
#define GO_SUM_21_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_20_(fn, __VA_ARGS__)
#define GO_SUM_22_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_21_(fn, __VA_ARGS__)
#define GO_SUM_23_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_22_(fn, __VA_ARGS__)
#define GO_SUM_24_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_23_(fn, __VA_ARGS__)
#define GO_SUM_25_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_24_(fn, __VA_ARGS__)
#define GO_SUM_26_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_25_(fn, __VA_ARGS__)
#define GO_SUM_27_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_26_(fn, __VA_ARGS__)
#define GO_SUM_28_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_27_(fn, __VA_ARGS__)
#define GO_SUM_29_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_28_(fn, __VA_ARGS__)
#define GO_SUM_30_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_29_(fn, __VA_ARGS__)
#define GO_SUM_31_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_30_(fn, __VA_ARGS__)
#define GO_SUM_32_(fn, a, ...) GO_ARGUMENT_(a) + GO_SUM_31_(fn, __VA_ARGS__)
#endif

/* (args...) from fn, args...; and the number of args, at most 63. */
#define GO_LIST_(n, ...) GO_LIST_N_(n, __VA_ARGS__)
#define GO_LIST_N_(n, ...) GO_LIST_##n##_(__VA_ARGS__)
#define GO_LIST_0_(fn) ()
#define GO_LIST_REST_(fn, ...) (__VA_ARGS__)
#define GO_LIST_1_ GO_LIST_REST_
#define GO_LIST_2_ GO_LIST_REST_
#define GO_LIST_3_ GO_LIST_REST_
#define GO_LIST_4_ GO_LIST_REST_
#define GO_LIST_5_ GO_LIST_REST_
#define GO_LIST_6_ GO_LIST_REST_
#define GO_LIST_7_ GO_LIST_REST_
#define GO_LIST_8_ GO_LIST_REST_
#define GO_LIST_9_ GO_LIST_REST_
#define GO_LIST_10_ GO_LIST_REST_
#define GO_LIST_11_ GO_LIST_REST_
#define GO_LIST_12_ GO_LIST_REST_
#define GO_LIST_13_ GO_LIST_REST_
#define GO_LIST_14_ GO_LIST_REST_
#define GO_LIST_15_ GO_LIST_REST_
#define GO_LIST_16_ GO_LIST_REST_
#define GO_LIST_17_ GO_LIST_REST_
#define GO_LIST_18_ GO_LIST_REST_
#define GO_LIST_19_ GO_LIST_REST_
#define GO_LIST_20_ GO_LIST_REST_
#define GO_LIST_21_ GO_LIST_REST_
#define GO_LIST_22_ GO_LIST_REST_
#define GO_LIST_23_ GO_LIST_REST_
#define GO_LIST_24_ GO_LIST_REST_
#define GO_LIST_25_ GO_LIST_REST_
#define GO_LIST_26_ GO_LIST_REST_
#define GO_LIST_27_ GO_LIST_REST_
#define GO_LIST_28_ GO_LIST_REST_
#define GO_LIST_29_ GO_LIST_REST_
#define GO_LIST_30_ GO_LIST_REST_
#define GO_LIST_31_ GO_LIST_REST_
#define GO_LIST_32_ GO_LIST_REST_
#define GO_LIST_33_ GO_LIST_REST_
#define GO_LIST_34_ GO_LIST_REST_
#define GO_LIST_35_ GO_LIST_REST_
#define GO_LIST_36_ GO_LIST_REST_
#define GO_LIST_37_ GO_LIST_REST_
#define GO_LIST_38_ GO_LIST_REST_
#define GO_LIST_39_ GO_LIST_REST_
#define GO_LIST_40_ GO_LIST_REST_
#define GO_LIST_41_ GO_LIST_REST_
#define GO_LIST_42_ GO_LIST_REST_
#define GO_LIST_43_ GO_LIST_REST_
#define GO_LIST_44_ GO_LIST_REST_
#define GO_LIST_45_ GO_LIST_REST_
#define GO_LIST_46_ GO_LIST_REST_
#define GO_LIST_47_ GO_LIST_REST_
#define GO_LIST_48_ GO_LIST_REST_
#define GO_LIST_49_ GO_LIST_REST_
#define GO_LIST_50_ GO_LIST_REST_
#define GO_LIST_51_ GO_LIST_REST_
#define GO_LIST_52_ GO_LIST_REST_
#define GO_LIST_53_ GO_LIST_REST_
#define GO_LIST_54_ GO_LIST_REST_
#define GO_LIST_55_ GO_LIST_REST_
#define GO_LIST_56_ GO_LIST_REST_
#define GO_LIST_57_ GO_LIST_REST_
#define GO_LIST_58_ GO_LIST_REST_
#define GO_LIST_59_ GO_LIST_REST_
#define GO_LIST_60_ GO_LIST_REST_
#define GO_LIST_61_ GO_LIST_REST_
#define GO_LIST_62_ GO_LIST_REST_
#define GO_LIST_63_ GO_LIST_REST_
#define GO_COUNT_(...) GO_COUNT_PICK_(__VA_ARGS__, 63, 62, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, \
	49, 48, 47, 46, 45, 44, 43, 42, 41, 40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 30, 29, 28, 27, 26, 25, 24, \
	23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, ~)
#define GO_COUNT_PICK_(a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, \
	a18, a19, a20, a21, a22, a23, a24, a25, a26, a27, a28, a29, a30, a31, a32, a33, a34, a35, a36, a37, a38, \
	a39, a40, a41, a42, a43, a44, a45, a46, a47, a48, a49, a50, a51, a52, a53, a54, a55, a56, a57, a58, a59, \
	a60, a61, a62, a63, n, ...) n
