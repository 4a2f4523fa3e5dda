// SPDX-License-Identifier: MIT
//
// Values as the bits that they have, in hex, for programs that test_declarations.py generates.

using System;
using System.Text;

static class Shown
{
    public static unsafe string Of(bool value) { return (*(byte*)&value).ToString("x2"); }
    public static string Of(sbyte value) { return value.ToString("x2"); }
    public static string Of(byte value) { return value.ToString("x2"); }
    public static string Of(short value) { return value.ToString("x4"); }
    public static string Of(ushort value) { return value.ToString("x4"); }
    public static string Of(char value) { return ((ushort)value).ToString("x4"); }
    public static string Of(int value) { return value.ToString("x8"); }
    public static string Of(uint value) { return value.ToString("x8"); }
    public static string Of(long value) { return value.ToString("x16"); }
    public static string Of(ulong value) { return value.ToString("x16"); }
    public static string Of(float value) { return BitConverter.SingleToInt32Bits(value).ToString("x8"); }
    public static string Of(double value) { return BitConverter.DoubleToInt64Bits(value).ToString("x16"); }
    public static string Of(Enum value) { return value.ToString("X").ToLowerInvariant(); }
    public static string Of(TimeSpan value) { return Of(value.Ticks); }
    public static string Of(Guid value) { return value.ToString("N"); }

    public static string Of(DateTime value)
    {
        // Of a local one the highest bit is not seen here: it says which of two equal hours it is.
        return Of((ulong)value.Ticks | (ulong)value.Kind << 62);
    }

    public static string Of(decimal value)
    {
        var bits = decimal.GetBits(value); // low, middle, high, flags
        return Of(bits[3]) + Of(bits[2]) + Of(bits[0]) + Of(bits[1]);
    }

    public static string Of(string value)
    {
        var text = new StringBuilder("'");
        foreach (char unit in value) text.Append(Of(unit));
        return text.ToString();
    }

    public static unsafe string Of(byte* at, int count)
    {
        var text = new StringBuilder();
        for (int i = 0; i < count; i++) text.Append(Of(at[i]));
        return text.ToString();
    }
}
