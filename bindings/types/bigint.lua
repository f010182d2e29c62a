---@meta tidelock.bigint

--- Integers of any size, over GMP. A number never changes. Operators take one
--- beside Lua's integers:
---
--- - `+ - * // % ^` and unary `-` give a number of this class; `//` and `%` round
---   down, and by zero they raise, as Lua's integers do. `^` wants an exponent
---   that is not negative. `/` gives the nearest float.
--- - `& | ~ << >>` see two's complement without an end on the left: `-1 >> 1` is
---   -1. A negative count shifts the other way.
--- - Beside a float the result is a float, as that of an integer and a float is.
--- - `< <= > >=` compare exactly, with floats as well. `==` is true for equal
---   numbers of this class; a number and a Lua integer are never equal, since
---   Lua asks nobody about values of two types: write `x == bigint.new(5)`, or
---   `x:tointeger() == 5`.
--- - `..` and `tostring` give decimal digits.
---
--- As a key of a table each object is another one, whatever its value: use
--- `tostring(x)`, or `x:tointeger()`, as the key.
---
--- Numbers travel to other processes, which must have required this module.
---
--- Work that takes more than about 20 microseconds runs with the GIL given up:
--- other threads run meanwhile, on other processors. One step of it cannot be
--- interrupted. `factorial` and `pow` of large results look between their steps
--- for Ctrl-C and `Thread:cancel`; everything else is one step.
---
--- A result of more than 2^32 bits raises "bigint too large", before anything is
--- computed, and "not enough memory" is raised if there is none for it.
---@class tidelock.bigint
local bigint = {}

--- An integer of any size. Made by `bigint.new`.
---@class bigint.Integer
---@operator add(bigint.Integer|integer): bigint.Integer
---@operator sub(bigint.Integer|integer): bigint.Integer
---@operator mul(bigint.Integer|integer): bigint.Integer
---@operator div(bigint.Integer|integer): number
---@operator idiv(bigint.Integer|integer): bigint.Integer
---@operator mod(bigint.Integer|integer): bigint.Integer
---@operator pow(bigint.Integer|integer): bigint.Integer
---@operator unm: bigint.Integer
---@operator band(bigint.Integer|integer): bigint.Integer
---@operator bor(bigint.Integer|integer): bigint.Integer
---@operator bxor(bigint.Integer|integer): bigint.Integer
---@operator bnot: bigint.Integer
---@operator shl(bigint.Integer|integer): bigint.Integer
---@operator shr(bigint.Integer|integer): bigint.Integer
---@operator concat(bigint.Integer|string|number): string
local Integer = {}

--- A number from a number of this class, an integer, a float with an integer
--- value, or a string: decimal digits, or hexadecimal ones after `0x`, or, with
--- a base, digits and letters of that base; perhaps with a sign before and
--- spaces around it. Raises for anything else.
---@param value bigint.Integer|number|string
---@param base? integer 2 to 36, for a string only
---@return bigint.Integer
---@nodiscard
function bigint.new(value, base) end

--- 1 * 2 * ... * n
---@param n integer not negative
---@return bigint.Integer
---@nodiscard
function bigint.factorial(n) end

--- a ^ n
---@param a bigint.Integer|integer
---@param n bigint.Integer|integer not negative
---@return bigint.Integer
---@nodiscard
function bigint.pow(a, n) end

--- a ^ n % m, without the large number between. A negative n takes the inverse
--- of a, and raises if there is none.
---@param a bigint.Integer|integer
---@param n bigint.Integer|integer
---@param m bigint.Integer|integer not 0
---@return bigint.Integer
---@nodiscard
function bigint.powmod(a, n, m) end

--- The greatest common divisor, not negative; of 0 and 0 it is 0.
---@param a bigint.Integer|integer
---@param b bigint.Integer|integer
---@return bigint.Integer
---@nodiscard
function bigint.gcd(a, b) end

--- The least common multiple, not negative.
---@param a bigint.Integer|integer
---@param b bigint.Integer|integer
---@return bigint.Integer
---@nodiscard
function bigint.lcm(a, b) end

--- The square root, rounded down.
---@param a bigint.Integer|integer not negative
---@return bigint.Integer
---@nodiscard
function bigint.isqrt(a) end

--- Whether the number is prime. False is certain. True may be wrong for a number
--- that was made to deceive, with a probability below 4^-8; none is known.
---@param a bigint.Integer|integer
---@return boolean
---@nodiscard
function bigint.is_prime(a) end

--- `bigint.pow(self, n)`
---@param n bigint.Integer|integer not negative
---@return bigint.Integer
---@nodiscard
function Integer:pow(n) end

--- `bigint.powmod(self, n, m)`
---@param n bigint.Integer|integer
---@param m bigint.Integer|integer not 0
---@return bigint.Integer
---@nodiscard
function Integer:powmod(n, m) end

--- `bigint.gcd(self, b)`
---@param b bigint.Integer|integer
---@return bigint.Integer
---@nodiscard
function Integer:gcd(b) end

--- `bigint.lcm(self, b)`
---@param b bigint.Integer|integer
---@return bigint.Integer
---@nodiscard
function Integer:lcm(b) end

--- `bigint.isqrt(self)`
---@return bigint.Integer
---@nodiscard
function Integer:isqrt() end

--- `bigint.is_prime(self)`
---@return boolean
---@nodiscard
function Integer:is_prime() end

--- The number without its sign.
---@return bigint.Integer
---@nodiscard
function Integer:abs() end

--- -1, 0 or 1
---@return integer
---@nodiscard
function Integer:sign() end

--- How many decimal digits it has; the sign is none, and 0 has one.
---@return integer
---@nodiscard
function Integer:digits() end

--- Its digits, with lower-case letters in bases above ten, after a `-` if it is
--- negative.
---@param base? integer 2 to 36, 10 by default
---@return string
---@nodiscard
function Integer:tostring(base) end

--- The Lua integer of this value.
---@return integer|nil nil if it does not fit
---@nodiscard
function Integer:tointeger() end

--- The Lua integer of this value, or if it does not fit the nearest float, which
--- is infinite from 2^1024 on.
---@return number
---@nodiscard
function Integer:tonumber() end

return bigint
