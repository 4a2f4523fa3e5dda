// SPDX-License-Identifier: MIT
//
// The other side of samples/variable_members.py, which declares the structures Data and Record (`csharp`). Adds a record to
// those in a file, under a mutex.

using System;
using System.IO;
using System.IO.MemoryMappedFiles;
using System.Threading;

public static class Program
{
    public static void Main(string[] args)
    {
        using (var map = MemoryMappedFile.CreateFromFile(args[0], FileMode.Open))
        using (var accessor = map.CreateViewAccessor())
        using (var mutex = new Mutex(false, args[1]))
        {
            Data data;
            mutex.WaitOne();
            accessor.Read<Data>(0, out data);
            Console.WriteLine($"{data.description}: {data.record_count} records");
            for (int i = 0; i < data.record_count; i++)
                Console.WriteLine($"  {data.records[i].description}: {Numbers(ref data.records[i])}");
            data.records[data.record_count].description = args[2];
            for (int i = 3; i < args.Length; i++)
                Set(ref data.records[data.record_count], i - 3, int.Parse(args[i]));
            data.record_count++;
            accessor.Write<Data>(0, ref data);
            mutex.ReleaseMutex();
        }
    }

    private static unsafe string Numbers(ref Record record)
    {
        var numbers = new string[record.count];
        fixed (int* x = record.x)
            for (int i = 0; i < numbers.Length; i++)
                numbers[i] = x[i].ToString();
        return "[" + string.Join(", ", numbers) + "]";
    }

    private static unsafe void Set(ref Record record, int i, int number)
    {
        fixed (int* x = record.x)
            x[i] = number;
        record.count = i + 1;
    }
}
